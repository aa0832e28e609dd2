import java.io.FileInputStream;
import java.io.InputStream;
import java.util.Collections;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;

/** Reads a zip file by its directory and as a stream, and prints what it found: one line for each way. */
public class ReadZip {
    public static void main(String[] args) throws Exception {
        long count = 0, bytes = 0;
        try (ZipFile file = new ZipFile(args[0])) {
            for (ZipEntry entry : Collections.list(file.entries())) {
                count++;
                try (InputStream stream = file.getInputStream(entry)) {
                    bytes += check(entry, stream);
                }
            }
        }
        System.out.println(count + " " + bytes);
        count = bytes = 0;
        try (ZipInputStream stream = new ZipInputStream(new FileInputStream(args[0]))) {
            for (ZipEntry entry = stream.getNextEntry(); entry != null; entry = stream.getNextEntry()) {
                count++;
                bytes += check(entry, stream);
            }
        }
        System.out.println(count + " " + bytes);
    }

    private static long check(ZipEntry entry, InputStream stream) throws Exception {
        byte[] content = stream.readAllBytes();
        CRC32 crc = new CRC32();
        crc.update(content);
        if (crc.getValue() != entry.getCrc() || content.length != entry.getSize()) {
            throw new IllegalStateException(entry.getName());
        }
        return content.length;
    }
}
