import io.semserve.client.Answer;
import io.semserve.client.AnswerStream;
import io.semserve.client.Classification;
import io.semserve.client.ClassifyPair;
import io.semserve.client.Embeddings;
import io.semserve.client.Request;
import io.semserve.client.SemserveClient;
import io.semserve.client.SemserveException;
import io.semserve.client.Vectors;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;

/**
 * Embeds two sentences, classifies a pair, streams ten requests of which one is bad, and prints
 * {@code Java ok DIMENSIONS COSINE LABEL}.
 */
public final class Sample {
  private Sample() {}

  public static void main(String[] arguments) {
    String address = arguments.length > 0 ? arguments[0] : "127.0.0.1:50051";
    try (SemserveClient client = SemserveClient.of(address)) {
      run(client);
    } catch (SemserveException failed) {
      System.err.println("semserve: " + failed.getMessage());
      System.exit(1);
    }
  }

  private static void run(SemserveClient client) {
    float[][] vectors =
        client.embed(List.of("The cat sits on the mat.", "A cat is sitting on a mat.")).vectors();
    Classification labelled =
        client.classify(List.of(new ClassifyPair("It is raining", "It is sunny"))).results().get(0);

    // The server refuses an empty text, and the stream goes on.
    Iterator<Request<String>> requests =
        IntStream.range(0, 10)
            .mapToObj(
                number ->
                    new Request<>(
                        String.valueOf(number),
                        List.of(number == 6 ? "" : "This is request " + number + ".")))
            .iterator();
    try (AnswerStream<Embeddings> answers = client.streamEmbed(requests)) {
      while (answers.hasNext()) {
        Answer<Embeddings> answer = answers.next();
        System.err.println("answer " + answer.id() + ": " + outcome(answer));
      }
    }
    System.out.printf(
        Locale.ROOT,
        "Java ok %d %.4f %s%n",
        vectors[0].length,
        Vectors.cosine(vectors[0], vectors[1]),
        labelled.label());
  }

  private static String outcome(Answer<Embeddings> answer) {
    return answer.error() == null
        ? answer.result().usage().tokenCount() + " tokens"
        : answer.error().code() + " " + answer.error().violations().get(0).field();
  }
}
