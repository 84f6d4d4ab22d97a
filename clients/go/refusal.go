package semserve

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
)

// maxViolations bounds the fields that one refusal names, as the server does.
const maxViolations = 16

// refusal refuses a request with a string that is not UTF-8, as the server would if it could read
// it. gRPC itself would call that INTERNAL, name no field and, in a stream, end the stream.
// It is nil where nothing is wrong.
func refusal(request any) error {
	message, ok := request.(proto.Message)
	if !ok {
		return nil
	}
	var bad []*errdetails.BadRequest_FieldViolation
	// Range fails only where its callback does; to terminate is no failure.
	_ = protorange.Range(message.ProtoReflect(), func(at protopath.Values) error {
		text, ok := at.Index(-1).Value.Interface().(string)
		if ok && !utf8.ValidString(text) {
			bad = append(bad, &errdetails.BadRequest_FieldViolation{
				Field: field(at.Path), Description: "is not valid UTF-8",
			})
		}
		if len(bad) == maxViolations {
			return protorange.Terminate
		}
		return nil
	})
	if len(bad) == 0 {
		return nil
	}
	fields := make([]string, len(bad))
	for i, violation := range bad {
		fields[i] = violation.GetField() + ": " + violation.GetDescription()
	}
	refused := status.New(codes.InvalidArgument, strings.Join(fields, "; "))
	detailed, err := refused.WithDetails(&errdetails.BadRequest{FieldViolations: bad})
	if err != nil {
		detailed = refused // the message tells the fields too
	}
	return newError(detailed)
}

// field is the path as the server writes it: the first step is the message's own name, and a
// stream's request is one field further down than a unary one.
func field(path protopath.Path) string {
	return strings.TrimPrefix(strings.TrimPrefix(path[1:].String(), "."), "request.")
}
