package io.semserve.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/**
 * A call, a request of a stream or one text failed.
 *
 * <p>The code tells what to do. INVALID_ARGUMENT and NOT_FOUND: change the request, also where it
 * or its answer is larger than one message may be. RESOURCE_EXHAUSTED and UNAVAILABLE, which the
 * client has retried already: come back later. INTERNAL: the server is at fault.
 */
public final class SemserveException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** What gRPC's libraries say of a message over a limit, with the code of an overload. */
  private static final Pattern TOO_LARGE =
      Pattern.compile("larger than max|exceeds maximum", Pattern.CASE_INSENSITIVE);

  private static final Metadata.Key<String> PUSHBACK =
      Metadata.Key.of("grpc-retry-pushback-ms", Metadata.ASCII_STRING_MARSHALLER);
  private static final Pattern MILLISECONDS = Pattern.compile("\\d{1,9}");

  /** One field that the server refused: its path, such as {@code texts[3]}, and what is wrong. */
  public record Violation(String field, String description) implements java.io.Serializable {}

  private final Status.Code code;
  private final List<Violation> violations;
  private final Duration retryAfter;
  private final boolean isFinal;

  private SemserveException(
      Status.Code code,
      String message,
      List<Violation> violations,
      Duration retryAfter,
      boolean isFinal,
      Throwable cause) {
    super(code + ": " + message, cause);
    this.code = code;
    this.violations = List.copyOf(violations);
    this.retryAfter = retryAfter;
    this.isFinal = isFinal;
  }

  SemserveException(Status.Code code, String message) {
    this(code, message, List.of(), null, false, null);
  }

  SemserveException(List<Violation> violations) {
    this(
        Status.Code.INVALID_ARGUMENT,
        String.join(
            "; ", violations.stream().map(one -> one.field() + ": " + one.description()).toList()),
        violations,
        null,
        false,
        null);
  }

  /** The gRPC status code, never OK. */
  public Status.Code code() {
    return code;
  }

  /** The bad fields of the request; mostly empty but for INVALID_ARGUMENT. */
  public List<Violation> violations() {
    return violations;
  }

  /** After how long the server wants to be asked again; empty where it did not say. */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(retryAfter);
  }

  /** Whether the server asked not to be tried again. */
  boolean isFinal() {
    return isFinal;
  }

  /** Makes the exception of a status that gRPC gave. */
  static SemserveException of(StatusRuntimeException failed) {
    com.google.rpc.Status status = StatusProto.fromThrowable(failed);
    Metadata trailers = failed.getTrailers();
    String pushback = trailers == null ? null : trailers.get(PUSHBACK);
    if (status == null) {
      status =
          com.google.rpc.Status.newBuilder()
              .setCode(failed.getStatus().getCode().value())
              .setMessage(describe(failed.getStatus()))
              .build();
    }
    return of(status, pushback, failed);
  }

  /** Makes the exception of a status inside an answer. */
  static SemserveException of(com.google.rpc.Status status) {
    return of(status, null, null);
  }

  private static SemserveException of(
      com.google.rpc.Status status, String pushback, Throwable cause) {
    Status.Code code = Status.fromCodeValue(status.getCode()).getCode();
    String message = status.getMessage();
    if (code == Status.Code.RESOURCE_EXHAUSTED && TOO_LARGE.matcher(message).find()) {
      code = Status.Code.INVALID_ARGUMENT;
      message = "the request or its answer is too large: " + message;
    }
    List<Violation> violations = List.of();
    Duration retryAfter = null;
    try {
      for (Any detail : status.getDetailsList()) {
        if (detail.is(BadRequest.class)) {
          violations =
              detail.unpack(BadRequest.class).getFieldViolationsList().stream()
                  .map(one -> new Violation(one.getField(), one.getDescription()))
                  .toList();
        } else if (detail.is(RetryInfo.class)) {
          var delay = detail.unpack(RetryInfo.class).getRetryDelay();
          retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        }
      }
    } catch (InvalidProtocolBufferException broken) {
      message += " (its details cannot be read)";
    }
    boolean isFinal = pushback != null && !MILLISECONDS.matcher(pushback).matches();
    if (pushback != null && !isFinal) {
      retryAfter = Duration.ofMillis(Long.parseLong(pushback));
    }
    return new SemserveException(code, message, violations, retryAfter, isFinal, cause);
  }

  private static String describe(Status status) {
    String said = status.getDescription() == null ? "" : status.getDescription();
    Throwable cause = status.getCause();
    return cause == null || cause.getMessage() == null || said.contains(cause.getMessage())
        ? said
        : said + ": " + cause.getMessage();
  }
}
