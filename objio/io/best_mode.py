"""What is best of a metric, the least or the greatest, by the whole words of its name; None where that is a guess.

A wrong guess deletes the best save, and a refusal costs one argument. So only names that the field agrees on count:

- A word that is known decides, whatever stands beside it: 'val_accuracy', 'mIoU', 'decoder/loss_step'.
- Words of both directions decide nothing: 'accuracy_loss'.
- Some words turn the meaning around, or make another number of it: 'neg', 'gap', 'std', 'weight'. They decide nothing.
- Some words mean one direction alone, and any in company: 'time', 'cost', 'return'. They count where all the others
  are known not to matter: 'val/cost', but not 'flight_time'.
- 'score' and 'top5' mean more where no other word says less: 'top5' is an accuracy, 'top5_err' an error.
- Several words can be one name: 'log likelihood' is more, 'negative log likelihood' is less.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Literal

Mode = Literal['min', 'max']
"""'min' where less is better, 'max' where more is."""

_MANY = 'tokens tok samples examples images imgs img steps iterations iters it items frames sequences seqs requests '
_MANY += 'queries records rows batches words sentences episodes updates games'
_ONE = 'token sample example image step iteration iter item frame sequence request query batch epoch'

_GREATER = """
    acc, accs, acc norm, accuracy, accuracies, bacc, correct, correctness, f1, f2, f beta, fbeta, f score, fscore, f measure,
    fmeasure, prec, precision, precisions, recall, recalls, sensitivity, specificity, selectivity, ppv, npv,
    predictive value, negative predictive value, tpr, tnr, true positive, true positives, true negative, true negatives,
    mcc, matthews, kappa, kappas, qwk, informedness, markedness, youden,
    auc, aucs, auroc, auprc, aupr, aucpr, aupro, rocauc, prauc, roc, area under curve, area under the curve,
    area under roc, ap, map, average precision, exact match, pass rate, passrate, solve rate, pass @ #, pass @ k,
    pass at #, pass at k, maj @ #, maj @ k, p @ #, p @ k, r @ #, r @ k, hr @ #, hr @ k, hit rate, hitrate, hit ratio,
    hit @ #, hit @ k, hits, ndcg, dcg, discounted cumulative gain, mrr, reciprocal rank,
    iou, miou, fwiou, giou, jaccard, jaccard index, jaccard coefficient, dice, dice coef, dice coefficient, mdice, dsc, nsd,
    panoptic quality, pq, mota, motp, hota, idf1, pck, oks, nds,
    bleu, sacrebleu, gleu, rouge, rougel, rougelsum, meteor, chrf, cider, spice, nist, sari, comet, bleurt, bertscore,
    bert score, moverscore, clip score, clipscore, inception score,
    psnr, ssim, msssim, fsim, vmaf, structural similarity, structural similarity index, snr, sisnr, sdr, sisdr,
    signal noise ratio, signal to noise ratio, signal distortion ratio, signal to distortion ratio,
    pesq, stoi, estoi, mos, dnsmos, utmos, lddt, plddt, gdt, tm score, dockq,
    r2, rsquared, r squared, explained variance, corr, correlation, correlations, correlation coefficient, corrcoef,
    corr coef, pearson, pearsonr, spearman, spearmanr, kendall, kendalltau, pcc, plcc, srcc, ccc, concordance,
    concordance index, c index, cindex, nmi, ari, rand index, adjusted rand, normalized mutual information,
    adjusted mutual information, v measure, silhouette, silhouette coefficient, calinski,
    likelihood, log likelihood, loglikelihood, loglik, log evidence, elbo, evidence lower bound,
    neg mean squared error, neg root mean squared error, neg mean absolute error, neg median absolute error,
    neg mean squared log error, neg root mean squared log error, neg mean absolute percentage error, neg log loss,
    neg brier score, neg max error,
    ↑, reward, rewards, rew, success, successes, win rate, winrate, win ratio, wins, elo, sharpe, sortino, profit, revenue,
    throughput, fps, ips, qps, rps, tps, mfu, hfu, goodput
"""

_LESS = """
    ↓, loss, losses, logloss, mlogloss, objective loss, nll, bce, ce, xent, crossentropy, cross entropy, infonce, hinge,
    huber, logcosh, log cosh, nelbo, neg elbo, negative elbo, neg log likelihood, negative log likelihood,
    negative likelihood, neg likelihood, neg log prob, negative log prob, nlpd,
    err, errs, error, errors, merror, misclassification, misclassifications, misclassified, mistakes, incorrect, wrong,
    miss rate, missrate, failure, failures, failed, fpr, fnr, fdr, eer, false positive, false positives, false negative,
    false negatives, false alarm, false alarms, false discovery, false omission, false acceptance, false rejection,
    wer, cer, ter, hallucination, hallucinations,
    mae, mse, mape, msle, rmse, rmsle, smape, mape, wmape, wape, mdape, mase, nrmse, nmse, sse, medae, rmsd, mpjpe,
    pampjpe, epe, absrel, abs rel, sqrel, sq rel, silog, ade, fde, minade, minfde, deviance, aic, bic,
    brier, brier score, ece, mce, calibration error, crps, ranked probability score, pinball, interval score,
    winkler score, energy score, aurc,
    ppl, perplexity, perplexities, bpb, bpc, bpd, fid, sfid, kid, fvd, fad, lpips, niqe, brisque, mcd, distortion,
    kl, kld, kullback leibler, jsd, mmd, divergence, wasserstein, chamfer, hausdorff, levenshtein, emd,
    frechet inception distance, kernel inception distance, frechet distance, edit distance, hamming distance,
    davies bouldin, mean rank, median rank,
    regret, regrets, exploitability, violation, violations, collision, collisions,
    latency, latencies, ttft, tpot, runtime, walltime, step time, batch time, epoch time, inference time, wall time,
    wall clock time, training time, train time, response time, time to first token, time to accuracy, time to train,
    time to solution
"""

_GREATER_ALONE = 'return, returns, em, exact, hit, win, homogeneity, completeness, purity'

_LESS_ALONE = """
    time, times, wall clock, duration, durations, elapsed, delay, cost, costs, penalty, energy, memory, mem, distance,
    distances, miss, misses, hd
"""

_GREATER_UNLESS_LESS = 'score, scores, top #, top k, topk'

_NO_MATTER = """
    val, valid, validation, eval, evaluation, dev, test, testing, train, training, holdout, online, offline, ood, iid,
    best, last, final, current, avg, average, averaged, mean, median, ema, sma, swa, running, smooth, smoothed, moving,
    total, sum, cumulative, overall, global, epoch, step, batch, iter, iteration, macro, micro, weighted, normalized,
    normalised, raw, metric, metrics, episode, episodic, ep, rollout, discounted, undiscounted, per, token, tokens,
    sample, samples, example, image, query, request, charts, class, k, #, @, at, peak, gpu, cpu, ram, vram, device, host,
    allocated, used, usage, footprint, s, sec, secs, second, seconds, ms, us, mb, gb, mib, gib, bytes,
    mixed precision, feature map, depth map, attention map, saliency map, heat map, negative sampling,
    scale invariant, multi scale, policy gradient, sum of
"""

_DOUBTFUL = """
    neg, non, no, negative, negated, minus, inverse, inverted, inv, reverse, reversed, recip, reciprocal, not, false,
    free, less, anti, complement, below, under, within, above, exceeding, than,
    saved, saving, savings, avoided, avoidance, prevented, prevention, detected, caught, fixed, corrected, removed,
    eliminated, resolved, reduced, explained, error detection, failure detection, misclassification detection,
    collision detection, violation detection, hallucination detection, speed, speedup, speedups, efficiency,
    loss ratio, perplexity ratio, runtime ratio, latency ratio, codebook, code perplexity, discriminator acc,
    discriminator accuracy, disc acc, acc steps, map size, map width, map height, precision bits,
    epoch of, epochs of, epoch at, epochs at, step of, steps of, step at, steps at, iteration of, iterations at,
    gap, drop, delta, diff, difference, differences, change, decrease, increase, improvement, gain, reduction, decay,
    degradation, correction, recovery, var, variance, std, stdev, stddev, sd, sem, stderr, std err, std error,
    standard error, spread, confidence, uncertainty, weight, weights, coef, coeff, coefficient, coefficients, scale,
    scaler, factor, threshold, thresh, tolerance, patience, budget, limit, schedule, grad, grads, gradient, gradients,
    norm, rank, index, idx, argmin, argmax, to, until, before, between, without, rejected, attack, attacker, backdoor,
    membership, leakage, forget, unlearning, unlearn, learning rate, err @ #, err @ k, episode time, ep time,
    episode duration, ep duration
"""

_KINDS = {
    'max': _GREATER,
    'min': _LESS,
    'max alone': _GREATER_ALONE,
    'min alone': _LESS_ALONE,
    'max unless less': _GREATER_UNLESS_LESS,
    'no matter': _NO_MATTER,
    'doubtful': _DOUBTFUL,
}


def _names() -> Iterator[tuple[tuple[str, ...], str]]:
    """Every known name as its words, and its kind."""
    for kind, text in _KINDS.items():
        yield from ((tuple(name.split()), kind) for name in text.split(','))
    for many in [*_MANY.split(), *_ONE.split()]:
        yield from (((many, 'per', unit), 'max') for unit in ('s', 'sec', 'second', 'minute', 'hour'))
        for unit in ('s', 'sec', 'secs', 'second', 'seconds', 'ms', 'milliseconds', 'us', 'time'):
            yield (unit, 'per', many), 'min'
    for many in _MANY.split():  # but 'epoch_s' is the seconds of an epoch
        yield from (((many, unit), 'max') for unit in ('s', 'sec', 'second'))
    for one in [*_ONE.split(), 'it', 'tok', 'img']:
        yield from (((unit, one), 'min') for unit in ('s', 'sec', 'ms', 'us'))
    for one in ('byte', 'char', 'character', 'dim', 'dimension', 'token', 'word', 'pixel', 'symbol', 'base'):
        yield ('bits', 'per', one), 'min'
        yield ('bits', one), 'min'


_KIND_OF = dict(_names())
_WORDS = {word for name in _KIND_OF for word in name}
_LONGEST = max(map(len, _KIND_OF))
_PIECES = re.compile(r'[@↑↓]|[^\W\d_]+\d*|\d+')
_IN_CAPITALS = re.compile(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+')
_TURNED = re.compile(  # '-acc', '-1*acc', '!acc', '1/loss', 'loss^-1', 'error<5cm', '1-acc', '100 - acc'
    r'(?:^|[/(,:=])\s*-\s*(?:[^\W\d_]|[\d.]+\s*[*·×])|(?:^|[/(,:=\s])[!~¬]|(?:^|[(,:=\s])1\s*/|(?:\^|\*\*)\s*\(?-|[<>≤≥]'
    r'|(?:^|[/(,:=\s])1(?:00)?(?:\.0+)?\s*-\s*([^\W\d_]+)'
)
_COUNTED = {'step', 'epoch', 'token', 'sample', 'k'}  # '1-step loss' is no difference
_HYPHENS = str.maketrans(dict.fromkeys('\N{MINUS SIGN}\N{HYPHEN}\N{EN DASH}\N{EM DASH}', '-'))
_WITH_DIGITS = {'f1', 'f2', 'r2', 'idf1'}


def best_mode(metric: str) -> Mode | None:
    """What is best of a metric by its name; None where the name has words of both directions, or of none.

    Example:
        >>> best_mode('val_accuracy'), best_mode('loss'), best_mode('accuracy_loss'), best_mode('mapping')
        ('max', 'min', None, None)
    """
    directions = _directions(metric)
    return directions.pop() if len(directions) == 1 else None


def chosen_mode(metric: str, mode: str | None, argument: str) -> Mode:
    """The mode that was given, or the one that the name of the metric tells.

    Args:
        metric: its name.
        mode: what was given; None: nothing.
        argument: what a message calls it.

    Raises:
        ValueError: another word was given; or none, and the name does not tell.
    """
    if mode is None:
        directions = _directions(metric)
        if len(directions) != 1:
            both = ', as it has words of both directions' if directions else ''
            raise ValueError(
                f'the name of the metric {metric!r} does not tell whether less or more of it is better{both}; '
                f"give {argument}='min' where less is better, {argument}='max' where more is"
            )
        return directions.pop()
    if mode == 'min':
        return 'min'
    if mode == 'max':
        return 'max'
    raise ValueError(f"{argument}: expected 'min' or 'max', got {mode!r}")


def _directions(metric: str) -> set[Mode]:
    """The directions that the words of a name have, as far as they can be relied on."""
    metric = unicodedata.normalize('NFKC', metric).translate(_HYPHENS)
    kinds = list(_kinds(list(_words(metric))))
    if 'doubtful' in kinds or any(_turns(match[1]) for match in _TURNED.finditer(metric)):
        return set()
    found: set[Mode] = set()
    for kind in kinds:
        if kind in ('max', 'max alone'):
            found.add('max')
        elif kind in ('min', 'min alone'):
            found.add('min')
    if not found and 'max unless less' in kinds:
        found.add('max')
    sure = 'max' in kinds or 'min' in kinds
    return found if sure or len(found) > 1 or 'unknown' not in kinds else set()


def _turns(subtracted: str | None) -> bool:
    """Whether a sign before a word turns its meaning around: '1-val_acc' does, '1-shot_acc' and '1-step_loss' do not."""
    if subtracted is None:
        return True
    first = next(iter(_words(subtracted)), '')
    return first in _WORDS and first not in _COUNTED


def _kinds(words: list[str]) -> Iterator[str]:
    """The kind of each known name among the words, the longest first, and 'unknown' for what is between them."""
    at = 0
    while at < len(words):
        for length in range(min(_LONGEST, len(words) - at), 0, -1):
            kind = _KIND_OF.get(tuple(words[at : at + length]))
            if kind:
                break
        yield kind or 'unknown'
        at += length


def _words(metric: str) -> Iterator[str]:
    """The words of a name in small letters, without numbers at their ends; '#' stands for a number of its own.

    Example:
        >>> list(_words('valROC_AUC@5')), list(_words('mIoU/top5-bleu4'))
        (['val', 'roc', 'auc', '@', '#'], ['miou', 'top', '#', 'bleu'])
    """
    for piece in _PIECES.findall(metric.replace('^', '')):
        letters = piece.rstrip('0123456789')
        if not letters:
            yield '#'
        elif piece.lower() in _WITH_DIGITS:
            yield piece.lower()
        elif letters.lower() == 'top' and piece != letters:
            yield from ('top', '#')
        else:
            yield from _by_capitals(letters)


def _by_capitals(letters: str) -> Iterable[str]:
    """The words that capitals show, or one, where all of it or several parts together are a word: 'mIoU', 'valmAP'."""
    if letters.lower() in _WORDS or not letters.isascii():
        return [letters.lower()]
    parts = [part.lower() for part in _IN_CAPITALS.findall(letters)]
    for length in (4, 3, 2):
        for start in range(len(parts) - length + 1):
            several = parts[start : start + length]
            if ''.join(several) in _WORDS and not _WORDS.issuperset(several):
                return [*parts[:start], ''.join(several), *parts[start + length :]]
    return parts
