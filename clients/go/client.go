// Package semserve is the Go client of semserve, a gRPC server for semantic similarity.
//
//	client, err := semserve.New("127.0.0.1:50051")
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//	answer, err := client.Embed(ctx, []string{"The cat sits on the mat."})
//
// Every method takes a context: its deadline travels to the server, which drops what can no longer
// be answered in time, and its outgoing metadata is sent along. Errors are of type [*Error].
//
// The generated messages and stubs are in the package semservev1 below this one; [Client.Conn]
// gives them a connection.
package semserve

import (
	"context"
	_ "embed" // for the service config
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/semserve/semserve/clients/go/semservev1"
)

// DefaultTimeout is the deadline of a unary call whose context has none.
const DefaultTimeout = 30 * time.Second

// maxAnswerBytes bounds one answer. The library's own 4 MiB is less than a thousand vectors of
// 1,024 dimensions; this holds sixteen thousand.
const maxAnswerBytes = 64 << 20

// serviceConfig balances over every address that the name resolves to and retries UNAVAILABLE. What
// the server had no room for is sent again by [again]. The server's own hint when to try again takes
// the place of the back-off.
//
//go:embed service_config.json
var serviceConfig string

// Client is a connection to semserve. It is safe for use by many goroutines at once; one is enough
// for a program.
type Client struct {
	connection     *grpc.ClientConn
	embedding      semservev1.EmbeddingServiceClient
	classification semservev1.ClassificationServiceClient
	similarity     semservev1.SimilarityServiceClient
	score          semservev1.ScoreServiceClient
	model          semservev1.ModelServiceClient
	health         healthv1.HealthClient
	inFlight       int
	explain        func(error) error // adds what the client knows of the cause
}

// New makes a client for the server at the address: host:port, or any target that gRPC resolves.
// It does not wait for the server: the first call connects. An address or a key that cannot be used
// is an error here. The proxy of the environment is used for other machines, not for this one.
func New(address string, options ...Option) (*Client, error) {
	chosen := configuration{
		timeout: DefaultTimeout, credentials: insecure.NewCredentials(), inFlight: DefaultInFlight,
	}
	for _, option := range options {
		option(&chosen)
	}
	address, err := checkAddress(address)
	if err = errors.Join(err, chosen.err); err != nil {
		return nil, err
	}
	advice := proxyAdvice(address)
	explain := func(err error) error {
		var failed *Error
		if errors.As(err, &failed) && failed.Code == codes.Unavailable && !strings.HasSuffix(failed.Message, advice) {
			failed.Message += advice
		}
		return err
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(chosen.credentials),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswerBytes)),
		grpc.WithChainUnaryInterceptor(unary(chosen.timeout, explain)),
	}
	if isLocal(address) {
		dial = append(dial, grpc.WithNoProxy())
	}
	connection, err := grpc.NewClient(address, append(dial, chosen.dial...)...)
	if err != nil {
		return nil, fmt.Errorf("semserve: %w", err)
	}
	return &Client{
		connection:     connection,
		embedding:      semservev1.NewEmbeddingServiceClient(connection),
		classification: semservev1.NewClassificationServiceClient(connection),
		similarity:     semservev1.NewSimilarityServiceClient(connection),
		score:          semservev1.NewScoreServiceClient(connection),
		model:          semservev1.NewModelServiceClient(connection),
		health:         healthv1.NewHealthClient(connection),
		inFlight:       chosen.inFlight,
		explain:        explain,
	}, nil
}

// Close ends the connection and with it every call in flight.
func (c *Client) Close() error { return c.connection.Close() }

// Conn is the connection itself, for the generated stubs of semservev1.
func (c *Client) Conn() grpc.ClientConnInterface { return c.connection }

// Option changes how a client connects.
type Option func(*configuration)

type configuration struct {
	timeout     time.Duration
	credentials credentials.TransportCredentials
	dial        []grpc.DialOption
	inFlight    int
	err         error // why an option cannot be honoured
}

// WithTimeout sets the deadline of unary calls whose context has none; 0 means no deadline.
// Streams have only their context's.
func WithTimeout(timeout time.Duration) Option {
	return func(c *configuration) { c.timeout = timeout }
}

// WithCredentials encrypts the connection. Without it the client speaks plain text.
func WithCredentials(transport credentials.TransportCredentials) Option {
	return func(c *configuration) { c.credentials = transport }
}

// WithKey sends an API key with every call, without the white space that a file has around it; an
// empty key is none. Without WithCredentials the network can read it.
func WithKey(key string) Option {
	key = strings.TrimSpace(key)
	if key == "" {
		return func(*configuration) {}
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return func(c *configuration) {
			c.err = errors.New("semserve: the key has a character that is not printable ASCII, or a space")
		}
	}
	return WithDialOptions(grpc.WithPerRPCCredentials(bearer(key)))
}

// WithInFlight bounds the requests of each stream that have no answer yet, from 1. They are kept to be
// sent again where the server sheds one.
func WithInFlight(requests int) Option {
	return func(c *configuration) {
		if c.inFlight = requests; requests < 1 {
			c.err = fmt.Errorf("semserve: %d requests in flight, not 1 or more", requests)
		}
	}
}

// WithDialOptions hands options to gRPC itself, after and so above the client's own.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(c *configuration) { c.dial = append(c.dial, options...) }
}

// bearer is an API key as gRPC asks for it at every call.
type bearer string

func (key bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(key)}, nil
}

// RequireTransportSecurity is false: a server on this machine, or behind a proxy that encrypts,
// wants its key in plain text.
func (bearer) RequireTransportSecurity() bool { return false }

// unary gives every unary call its deadline and its typed error, so that no method can forget them.
func unary(timeout time.Duration, explain func(error) error) grpc.UnaryClientInterceptor {
	return func(
		ctx context.Context, method string, request, reply any, connection *grpc.ClientConn,
		invoke grpc.UnaryInvoker, options ...grpc.CallOption,
	) error {
		if refused := refusal(request); refused != nil {
			return refused
		}
		if _, set := ctx.Deadline(); !set && timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		return explain(again(ctx, func(further ...grpc.CallOption) error {
			return invoke(ctx, method, request, reply, connection, append(options[:len(options):len(options)], further...)...)
		}))
	}
}
