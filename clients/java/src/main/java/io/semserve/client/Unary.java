package io.semserve.client;

import com.google.protobuf.Message;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** Makes unary calls, each with a deadline, typed errors, and retries that end at the deadline. */
final class Unary {
  private final Channel channel;
  private final Duration timeout;

  Unary(Channel channel, Duration timeout) {
    this.channel = channel;
    this.timeout = timeout;
  }

  /** Gives the call's own timeout, or that of the client where it is null. */
  Duration timeout(Duration own) {
    return own == null ? timeout : own;
  }

  /**
   * Calls until the server has room, as {@link Retries#wait} says.
   *
   * @param own the call's own timeout, or null
   * @throws SemserveException if the call failed
   */
  <Q extends Message, A> A call(MethodDescriptor<Q, A> method, Q request, Duration own) {
    WellFormed.check(request);
    Deadline deadline = Deadline.after(timeout(own).toNanos(), TimeUnit.NANOSECONDS);
    if (Context.current().getDeadline() != null) {
      deadline = deadline.minimum(Context.current().getDeadline());
    }
    CallOptions options = CallOptions.DEFAULT.withDeadline(deadline);
    for (int attempt = 1; ; attempt++) {
      try {
        return ClientCalls.blockingUnaryCall(channel, method, options, request);
      } catch (StatusRuntimeException raised) {
        SemserveException failed = SemserveException.of(raised);
        Optional<Duration> wait = Retries.wait(failed, attempt);
        if (wait.isEmpty() || deadline.timeRemaining(TimeUnit.NANOSECONDS) <= wait.get().toNanos()) {
          throw failed;
        }
        sleep(wait.get());
      }
    }
  }

  /**
   * Waits for a while, or until the thread is interrupted or the context is cancelled.
   *
   * @throws SemserveException CANCELLED if it was
   */
  static void sleep(Duration wait) {
    Context context = Context.current();
    Object monitor = new Object();
    Context.CancellationListener wake =
        ignored -> {
          synchronized (monitor) {
            monitor.notifyAll();
          }
        };
    context.addListener(wake, Runnable::run);
    try {
      long until = System.nanoTime() + wait.toNanos();
      synchronized (monitor) {
        for (long left = wait.toNanos(); left > 0; left = until - System.nanoTime()) {
          if (context.isCancelled()) {
            throw new SemserveException(Status.Code.CANCELLED, "the context was cancelled");
          }
          TimeUnit.NANOSECONDS.timedWait(monitor, left);
        }
      }
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw new SemserveException(Status.Code.CANCELLED, "the thread was interrupted");
    } finally {
      context.removeListener(wake);
    }
  }
}
