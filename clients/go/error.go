package semserve

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Error is why a call, a message of a stream or one text of a request was not answered.
//
// Its code tells what to do: InvalidArgument and NotFound mean to change the request, also where it, or
// its answer, is larger than one message may be;
// ResourceExhausted and Unavailable, which the client has retried already, to come back later;
// Internal that the server is at fault. It matches [context.DeadlineExceeded] and
// [context.Canceled] under errors.Is, and status.Code reads its code.
type Error struct {
	// Code is the gRPC status code, never OK.
	Code codes.Code
	// Message is the server's explanation, for people.
	Message string
	// Violations names each bad field of the request; mostly empty but for InvalidArgument.
	Violations []Violation
	// RetryAfter is when the server would like to be asked again; 0 where it did not say.
	RetryAfter time.Duration

	status *status.Status
}

// Violation is one field that the server refused.
type Violation struct {
	// Field is its path in the request, such as "texts[3]" or "pairs[0].hypothesis".
	Field string
	// Description says what is wrong with it.
	Description string
}

// Error gives the code and the message, which tells the bad fields too.
func (e *Error) Error() string { return fmt.Sprintf("semserve: %s: %s", e.Code, e.Message) }

// GRPCStatus is the status as it came, with every detail.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// Is makes the two codes that a context causes match the context's own errors.
func (e *Error) Is(target error) bool {
	switch target {
	case context.DeadlineExceeded:
		return e.Code == codes.DeadlineExceeded
	case context.Canceled:
		return e.Code == codes.Canceled
	default:
		return false
	}
}

// typed turns the error of a call into an [*Error]; nil stays nil.
func typed(err error) error {
	if err == nil {
		return nil
	}
	var already *Error
	if errors.As(err, &already) {
		return already
	}
	return newError(status.Convert(err))
}

// fromProto turns a status inside an answer into an [*Error].
func fromProto(answer *statuspb.Status) *Error { return newError(status.FromProto(answer)) }

// tooLarge matches what gRPC's libraries say of a message over a limit, with the code of an overload.
var tooLarge = regexp.MustCompile("(?i)larger than max|exceeds maximum size")

func newError(from *status.Status) *Error {
	if from.Code() == codes.ResourceExhausted && tooLarge.MatchString(from.Message()) {
		from = status.New(codes.InvalidArgument, "the request or its answer is too large: "+from.Message())
	}
	made := &Error{Code: from.Code(), Message: from.Message(), status: from}
	for _, detail := range from.Details() {
		switch detail := detail.(type) {
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				made.Violations = append(made.Violations, Violation{
					Field: violation.GetField(), Description: violation.GetDescription(),
				})
			}
		case *errdetails.RetryInfo:
			made.RetryAfter = detail.GetRetryDelay().AsDuration()
		}
	}
	return made
}
