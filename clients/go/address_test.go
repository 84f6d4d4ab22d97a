package semserve_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	semserve "github.com/semserve/semserve/clients/go"
)

func TestAnAddressThatCannotBeUsedIsRefusedWithAdvice(t *testing.T) {
	for address, advice := range map[string]string{
		"http://host:1":   "write host:1",
		"https://host:1/": "WithCredentials",
		"grpc://host:1":   "write host:1",
		"localhost":       "no port",
		"dns:///host":     "no port",
		"[::1]":           "no port",
		"::1:50051":       "[IPV6]:PORT",
		":50051":          "no host",
		"host:http":       `port "http"`,
		"host:0":          `port "0"`,
		"host:70000":      `port "70000"`,
		"my host:1":       "a space",
		"":                "no port",
	} {
		_, err := semserve.New(address)
		if err == nil || !strings.Contains(err.Error(), advice) {
			t.Errorf("%q: want %q, got %v", address, advice, err)
		}
	}
}

func TestAnAddressThatGRPCResolvesIsTaken(t *testing.T) {
	for _, address := range []string{
		"localhost:50051", " localhost:50051\n", "[::1]:50051", "my_server:1", "dns:///host:1", "dns:host:1",
		"dns://8.8.8.8/host:1", "unix:relative.sock", "unix:///absolute.sock", "passthrough:///anything",
	} {
		client, err := semserve.New(address)
		if err != nil {
			t.Errorf("%q: %v", address, err)
			continue
		}
		same(t, nil, client.Close())
	}
}

func TestTheProxyOfTheEnvironmentIsNotUsedForThisMachine(t *testing.T) {
	// The package net/http, which gRPC asks, reads the environment once and spares 127.0.0.1 and
	// localhost by itself, but not what other names say.
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:9")
	address := new(answering).start(t)
	_, port, _ := strings.Cut(address, ":")
	for _, host := range []string{"127.0.0.1", "localhost", "0.0.0.0"} {
		client := connect(t, host+":"+port)
		if _, err := client.Embed(t.Context(), []string{"a"}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestAProxyInTheWayIsNamed(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:9")
	client := connect(t, "192.0.2.1:50051", semserve.WithDialOptions(grpc.WithContextDialer(
		func(context.Context, string) (net.Conn, error) { return nil, errors.New("no way") },
	)))
	_, err := client.Embed(t.Context(), []string{"a"})
	if !strings.HasSuffix(err.Error(), "unset it, or name the host in NO_PROXY") {
		t.Error(err)
	}
	_, err = collect(client.StreamEmbed(t.Context(), requests("a")))
	if !strings.HasSuffix(err.Error(), "unset it, or name the host in NO_PROXY") {
		t.Error(err)
	}
	t.Setenv("NO_PROXY", "192.0.2.1")
	_, err = connect(t, "192.0.2.1:50051", semserve.WithDialOptions(grpc.WithContextDialer(
		func(context.Context, string) (net.Conn, error) { return nil, errors.New("no way") },
	))).Embed(t.Context(), []string{"a"})
	same(t, false, strings.Contains(err.Error(), "PROXY"))
}

func TestAKeyLosesTheWhiteSpaceOfItsFile(t *testing.T) {
	var got []string
	server := &answering{embed: func(ctx context.Context, _ *embedRequest) (*embedResponse, error) {
		got = metadata.ValueFromIncomingContext(ctx, "authorization")
		return &embedResponse{}, nil
	}}
	if _, err := server.dial(t, semserve.WithKey(" alice.secret\r\n")).Embed(t.Context(), []string{"a"}); err != nil {
		t.Fatal(err)
	}
	same(t, []string{"Bearer alice.secret"}, got)
}

func TestOptionsThatCannotBeHonouredAreRefused(t *testing.T) {
	for _, option := range []semserve.Option{
		semserve.WithKey("alice secret"), semserve.WithKey("a\nb"), semserve.WithKey("schlüssel"),
		semserve.WithInFlight(0),
	} {
		if _, err := semserve.New("localhost:1", option); err == nil {
			t.Error("an option that cannot be honoured made a client")
		}
	}
}
