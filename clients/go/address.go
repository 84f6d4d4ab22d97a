package semserve

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// checkAddress gives an address without white space around it, or an error that says what to write
// where gRPC could not resolve it, or would use port 443.
func checkAddress(address string) (string, error) {
	address = strings.TrimSpace(address)
	if strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return "", fmt.Errorf("semserve: address %q has a space or a control character in it", address)
	}
	for _, scheme := range []string{"http://", "https://", "grpc://", "grpcs://", "tcp://"} {
		if plain, found := strings.CutPrefix(strings.ToLower(address), scheme); found {
			return "", fmt.Errorf("semserve: address %q has a scheme: write %s; TLS is asked for with WithCredentials",
				address, strings.TrimRight(plain, "/"))
		}
	}
	name, isHost := endpoint(address)
	if !isHost {
		return address, nil
	}
	host, port, err := net.SplitHostPort(name)
	switch {
	case err != nil && strings.Count(name, ":") > 1 && !strings.HasPrefix(name, "["):
		return "", fmt.Errorf("semserve: address %q has several colons: write an IPv6 address as [IPV6]:PORT", address)
	case err != nil || port == "":
		return "", fmt.Errorf("semserve: address %q has no port: write HOST:PORT, such as localhost:50051", address)
	case host == "":
		return "", fmt.Errorf("semserve: address %q has no host: write HOST:PORT", address)
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return "", fmt.Errorf("semserve: address %q has the port %q, not one from 1 to 65535", address, port)
	}
	return address, nil
}

// isLocal tells whether an address is this machine's: loopback, or a unix socket.
func isLocal(address string) bool {
	if strings.HasPrefix(address, "unix:") || strings.HasPrefix(address, "unix-abstract:") {
		return true
	}
	name, isHost := endpoint(address)
	if !isHost {
		return false
	}
	host, _, err := net.SplitHostPort(name)
	if err != nil {
		return false
	}
	lower := strings.TrimSuffix(strings.ToLower(host), ".")
	if lower == "localhost" || lower == "ip6-localhost" || strings.HasSuffix(lower, ".localhost") {
		return true
	}
	found, err := netip.ParseAddr(host)
	return err == nil && (found.Unmap().IsLoopback() || found.Unmap().IsUnspecified())
}

// proxyAdvice says which proxy of the environment is used for an address, and how not to; empty where
// none is.
func proxyAdvice(address string) string {
	name, isHost := endpoint(address)
	if !isHost || isLocal(address) {
		return ""
	}
	proxy, err := httpproxy.FromEnvironment().ProxyFunc()(&url.URL{Scheme: "https", Host: name})
	if err != nil || proxy == nil {
		return ""
	}
	return "; HTTPS_PROXY is set, so gRPC connects through that proxy: unset it, or name the host in NO_PROXY"
}

// endpoint gives the HOST:PORT of an address; false where it is something else, such as a path or what a
// resolver of the caller's own knows.
func endpoint(address string) (string, bool) {
	if rest, found := strings.CutPrefix(address, "dns:"); found {
		if authority, found := strings.CutPrefix(rest, "//"); found { // dns://AUTHORITY/HOST:PORT
			_, rest, _ = strings.Cut(authority, "/")
		}
		return rest, true
	}
	scheme, _, found := strings.Cut(address, ":")
	isTarget := found && (strings.Contains(address, "://") || strings.HasPrefix(scheme, "unix"))
	return address, !isTarget
}
