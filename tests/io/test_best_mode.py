"""What is best of a metric, by its name: known whole words decide, and where they do not, nothing is guessed."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objio.io.best_mode import Mode, best_mode, chosen_mode

GREATER = """
    accuracy acc val_acc val/accuracy test.accuracy train-accuracy testAccuracy ValAccuracy best_val_acc avgAccuracy
    acc1 acc@5 Acc@1 top1 top5 Top5 top_5 top-1 top_k_categorical_accuracy mIoU val_mIoU valMIoU mAP mAP50 mAP@0.5
    metrics/mAP50-95(B) map_50 bbox_mAP AP50 IoU meanIoU bleu BLEU bleu4 BLEU-4 rouge1 rougeL ROUGE-L rougeLsum win_rate
    winRate hit_rate HitRate hits@1 Hits@10 hit@10 HR@10 P@5 R@10 recall@10 recall_at_10 precision@k NDCG@10 nDCG mrr mcc
    elbo ELBO throughput R2 r2_score R^2 R² r_squared F1 f1 f1-macro f1_score F1Score macro_f1 fbeta f_beta F-measure
    ROC_AUC rocAuc roc_auc rocauc AUROC auprc AUPRC PSNR val/psnr MS-SSIM pearson spearmanr corr cohen_kappa
    matthews_corrcoef log_likelihood logLikelihood true_positive_rate tpr specificity tokens_per_sec tokens/s it/s
    samples_per_second tokensPerSecond steps/sec fps mfu pass@1 pass@k pass_rate exact_match exactMatch EM success_rate
    episode_reward ep_rew_mean mean_reward return episode_return val_score inception_score bertscore bert_score BERTScore
    explained_variance neg_mean_squared_error negative_predictive_value elo dice_coef DiceScore jaccard_index
    mean_average_precision balanced_accuracy accuracy_epoch acc_step ema_accuracy cifar10_acc num_correct CIDEr chrF++
    dense_1_accuracy 5-shot_acc eval_rewards/accuracies
"""
LESS = """
    loss val_loss valLoss loss2 loss_1 loss_epoch train/loss_step decoder/loss nll NLL bce ce cross_entropy crossEntropy
    categorical_crossentropy error err top_5_error top1_err top5Err error_rate word_error_rate wer CER mae MAE mse
    mean_squared_error MeanSquaredError RMSELoss mape perplexity ppl bits_per_dim bits_per_byte bits/dim bpb fid FID fid50k_full
    fid_score FIDScore lpips kl kl_loss kl_divergence divergence edit_distance distance regret latency latency_p99
    p95_latency time duration step_time time_per_step sec_per_step s/it time_to_first_token brier_score ece hinge cost
    val_cost energy minFDE ade neg_log_likelihood negative_log_likelihood NegLogLikelihood neg_elbo false_positive_rate
    FPR fpr95 miss_rate calibration_error hamming_loss log_loss binary_logloss policy_loss mean_rank peak_memory
    gpu_memory_mb entropy_loss dev.ppl cost_per_token score_loss
"""
BOTH = """
    accuracy_loss loss_accuracy lossAccuracy recall.error f1-loss reward_cost elbo_loss dice_loss auc_mse Win-Rate-Regret
    latency_accuracy return_loss
"""
NEITHER = """
    learning_rate lr m x step epoch foo l2 f_1 f16 mapping mapper account lossless sauce rapid stepwise accuracyloss
    valloss entropy similarity cosine_similarity accuracy_gap accuracy_std loss_std loss_weight loss_scale neg_loss
    neg_accuracy accuracy_drop loss_improvement -loss -log_likelihood val/-elbo 1-accuracy flight_time survival_time
    episode_time distance_travelled z_score anomaly_score return_code time_to_failure steps_to_success grad_norm err@10 epoch_s step_s
    time_steps
    ep_len_mean LossLess error_free_rate rewards/rejected 日本 @ 5
"""
TURNED = """
    1-val_acc 1-mean_iou 1-top1 1.0-accuracy 100-acc 100-wer -1*acc val/-1*loss −loss −accuracy !acc ~correct 1/loss
    (1/ppl) loss^-1 loss**-1 loss<0.1 error<5cm acc>0.9 err≤2 no_error no_errors reciprocal_loss recip_perplexity
    frac_error_below_5 errors_within_5px error_under_threshold error_detection_rate errors_detected errors_fixed
    collision_avoidance_rate collisions_avoided failures_prevented latency_saved latency_speedup runtime_speedup
    step_time_speedup latency_efficiency error_explained loss_ratio codebook_perplexity vq/codebook_perplexity
    discriminator_accuracy epoch_of_best_loss steps_at_best_acc acc_steps map_size accuracy↓ loss↑
"""
NOT_TURNED = """
    1-shot_acc 1-step_loss fold/1/loss val-loss val–loss loss-1 1_loss FID↓ PSNR↑ acc_norm hellaswag_acc_norm DSC
    val_DSC detection_loss detection_mAP mean_reciprocal_rank explained_variance charts/episodic_return speech_wer
    loss_at_step
"""


@pytest.mark.parametrize(
    ('mode', 'names'),
    [('max', GREATER), ('min', LESS), (None, BOTH), (None, NEITHER)],
    ids=['max', 'min', 'both', 'none'],
)
def test_names_of_the_field_tell_what_is_best(mode: Mode | None, names: str) -> None:
    """Known names tell in every spelling; words of both directions or of none tell nothing."""
    assert [name for name in names.split() if best_mode(name) != mode] == []
    assert best_mode('') is None
    assert best_mode('1 - ssim') is None


def test_what_turns_a_known_word_around_is_not_passed_over() -> None:
    """A sign, a bound, or a word that makes another number of a known one is refused; what only looks so is not."""
    assert [name for name in TURNED.split() if best_mode(name) is not None] == []
    assert [name for name in NOT_TURNED.split() if best_mode(name) is None] == []
    assert best_mode('100 - wer') is best_mode('1 - val accuracy') is None


@pytest.mark.parametrize(('mode', 'names'), [('max', GREATER), ('min', LESS)], ids=['max', 'min'])
def test_prefixes_and_suffixes_change_nothing(mode: Mode, names: str) -> None:
    """What a training framework puts around a name is passed over."""
    for name in names.split():
        for whole in (
            f'val/{name}',
            f'eval_{name}',
            f'test.{name}',
            f'{name}_epoch',
            f'best {name}',
            f'ema/{name}/mean',
        ):
            assert best_mode(whole) == mode, whole


@given(st.text(max_size=40))
def test_a_name_within_letters_is_no_word(text: str) -> None:
    """Any text is a name; a known word with a letter on each side of it is another word."""
    assert best_mode(text) in ('min', 'max', None)
    for word in ('loss', 'acc', 'map', 'auc', 'err'):
        assert best_mode(f'zq{word}zq') is None


def test_a_long_name_takes_no_time() -> None:
    """Names of a hundred thousand letters, in any order of capitals, are read in one pass."""
    letters = random.Random(0).choices('aBcDmAPIoU_1@-', k=100_000)
    assert best_mode(''.join(letters)) in ('min', 'max', None)


def test_what_is_given_wins() -> None:
    """A mode that is given is not held against the name; another word is refused."""
    assert chosen_mode('accuracy', 'min', 'best_mode') == 'min'
    assert chosen_mode('whatever', 'max', 'best_mode') == 'max'
    assert chosen_mode('val_loss', None, 'best_mode') == 'min'
    for mode in ('most', '', 'MIN', True, 1):
        with pytest.raises(ValueError, match="best_mode: expected 'min' or 'max', got"):
            chosen_mode('loss', mode, 'best_mode')  # type: ignore[arg-type]


@pytest.mark.parametrize('name', BOTH.split())
def test_both_directions_are_told(name: str) -> None:
    """The refusal says why, and what to give."""
    message = "words of both directions; give mode='min' where less is better, mode='max' where more is"
    with pytest.raises(ValueError, match=message):
        chosen_mode(name, None, 'mode')
