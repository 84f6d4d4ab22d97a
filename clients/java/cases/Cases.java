import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.semserve.client.Embeddings;
import io.semserve.client.Request;
import io.semserve.client.AnswerStream;
import io.semserve.client.SemserveClient;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Runs the table of cases that every client passes; tests/clients/CASES.md describes it.
 *
 * <pre>
 * run Cases CASES.JSON NAME=HOST:PORT …
 * run Cases bench HOST:PORT TEXTS
 * </pre>
 */
public final class Cases {
  private static final int TEXTS_A_REQUEST = 32;

  private Cases() {}

  public static void main(String[] arguments) throws Exception {
    if (arguments[0].equals("bench")) {
      bench(arguments[1], Integer.parseInt(arguments[2]));
      return;
    }
    JsonObject table = JsonParser.parseString(Files.readString(Path.of(arguments[0]))).getAsJsonObject();
    Map<String, String> servers = new HashMap<>();
    for (String argument : List.of(arguments).subList(1, arguments.length)) {
      servers.put(argument.split("=", 2)[0], argument.split("=", 2)[1]);
    }
    boolean failed = false;
    for (JsonElement element : table.getAsJsonArray("cases")) {
      JsonObject one = element.getAsJsonObject();
      String name = one.get("name").getAsString();
      try {
        new CaseRunner(one, servers, table.get("tolerance").getAsDouble()).run();
        System.out.println("ok " + name);
      } catch (Exception | AssertionError wrong) {
        failed = true;
        System.out.println("FAILED " + name + ": " + wrong.toString().replace('\n', ' '));
      }
    }
    System.exit(failed ? 1 : 0);
  }

  /** Streams many texts as fast as the client can, in little memory. */
  private static void bench(String address, int count) throws Exception {
    Iterator<Request<String>> requests =
        IntStream.range(0, (count + TEXTS_A_REQUEST - 1) / TEXTS_A_REQUEST)
            .map(number -> number * TEXTS_A_REQUEST)
            .mapToObj(
                start ->
                    new Request<>(
                        String.valueOf(start),
                        IntStream.range(start, Math.min(start + TEXTS_A_REQUEST, count))
                            .mapToObj(number -> "text " + number)
                            .toList()))
            .iterator();
    long started = System.nanoTime();
    long answered = 0;
    try (SemserveClient client = SemserveClient.of(address);
        AnswerStream<Embeddings> answers = client.streamEmbed(requests)) {
      while (answers.hasNext()) {
        var answer = answers.next();
        if (answer.error() != null) {
          throw answer.error();
        }
        answered += answer.result().vectors().length;
      }
    }
    double rate = answered / ((System.nanoTime() - started) / 1e9);
    String peak =
        Files.readAllLines(Path.of("/proc/self/status")).stream()
            .filter(line -> line.startsWith("VmHWM:"))
            .findFirst()
            .orElseThrow();
    long megabytes = Long.parseLong(peak.replaceAll("\\D", "")) >> 10;
    System.out.printf("Java %d texts %.0f texts/s %d MB%n", answered, rate, megabytes);
  }
}
