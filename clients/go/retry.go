package semserve

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// What service_config.json says of UNAVAILABLE, for what the client sends again by itself.
const (
	maxAttempts    = 4
	initialBackoff = 100 * time.Millisecond
	maxBackoff     = 2 * time.Second
	backoffJitter  = 0.2
)

// pushbackKey is the trailer in which a server says when to come back, in milliseconds.
const pushbackKey = "grpc-retry-pushback-ms"

// retryAfter gives the wait before a request is sent again that failed at its first, second, …
// attempt; false where it is not sent again. Whether UNAVAILABLE is sent again is for the caller to
// say, since gRPC itself retries it where no message of a stream carries it.
func retryAfter(failed error, attempts int, unavailable bool) (time.Duration, bool) {
	var shed *Error
	if !errors.As(failed, &shed) || attempts >= maxAttempts {
		return 0, false
	}
	if shed.Code != codes.ResourceExhausted && (shed.Code != codes.Unavailable || !unavailable) {
		return 0, false
	}
	if shed.RetryAfter > 0 {
		return shed.RetryAfter, true
	}
	backoff := min(initialBackoff<<(attempts-1), maxBackoff)
	return time.Duration(float64(backoff) * (1 + backoffJitter*(2*rand.Float64()-1))), true
}

// again calls until the server has room, as retryAfter says. gRPC's own retries cannot do it: they take
// a message over a limit, which has the same status, for an overload.
func again(ctx context.Context, call func(...grpc.CallOption) error) error {
	for attempt := 1; ; attempt++ {
		var trailer metadata.MD
		failed := typed(call(grpc.Trailer(&trailer)))
		wait, retry := retryAfter(failed, attempt, false)
		if wait, retry = pushback(trailer, wait, retry); !retry {
			return failed
		}
		if err := pause(ctx, wait, failed); err != nil {
			return err
		}
	}
}

// pushback gives the wait that a trailer asks for in place of another one; false where it asks not to
// come back.
func pushback(trailer metadata.MD, wait time.Duration, retry bool) (time.Duration, bool) {
	asked := trailer.Get(pushbackKey)
	if !retry || len(asked) == 0 {
		return wait, retry
	}
	milliseconds, err := strconv.ParseUint(asked[0], 10, 31)
	return time.Duration(milliseconds) * time.Millisecond, err == nil // such as -1: do not come back
}

// pause waits. Where the context ends first, the error is the context's, and where its deadline comes
// too soon to wait at all, what failed.
func pause(ctx context.Context, wait time.Duration, failed error) error {
	if deadline, set := ctx.Deadline(); set && time.Until(deadline) <= wait {
		return failed
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return typed(status.FromContextError(ctx.Err()).Err())
	}
}
