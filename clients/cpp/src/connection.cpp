#include "connection.h"

#include <algorithm>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "address.h"
#include "text.h"

namespace semserve::internal {
namespace {

// The bound of one answer. The library's own 4 MiB is less than a thousand vectors of 1,024 dimensions; this
// holds sixteen thousand.
constexpr int kMaxAnswerBytes = 64 << 20;
// The bound of a request that gRPC keeps to retry it. Its own 256 KiB is less than many requests have.
constexpr int kRetryBufferBytes = 16 << 20;
// How often a connection with calls in flight is tried, so that a server whose machine vanished is noticed. The
// server allows a ping every 10 seconds.
constexpr int kPingMilliseconds = 30'000, kPingTimeoutMilliseconds = 10'000;

bool has_tls(const ClientOptions& options) {
  return options.system_certificates || !options.root_certificates.empty();
}

[[noreturn]] void refuse(const std::string& why) { throw Error(StatusCode::INVALID_ARGUMENT, why); }

std::shared_ptr<grpc::ChannelCredentials> credentials(const ClientOptions& options) {
  if (!has_tls(options)) {
    if (!options.certificate.empty() || !options.certificate_key.empty()) {
      refuse("certificate is set without TLS: set root_certificates or system_certificates, too");
    }
    return grpc::InsecureChannelCredentials();
  }
  if (options.certificate.empty() != options.certificate_key.empty()) {
    refuse("certificate and certificate_key go together");
  }
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = options.root_certificates;
  tls.pem_cert_chain = options.certificate;
  tls.pem_private_key = options.certificate_key;
  return grpc::SslCredentials(tls);
}

std::string bearer(const std::string& written) {
  const auto key = trimmed(written);
  if (!std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c <= '~'; })) {
    refuse("the key has a character that is not printable ASCII, or a space");
  }
  return key.empty() ? "" : "Bearer " + key;
}

}  // namespace

Connection::Connection(const std::vector<std::string>& addresses, const ClientOptions& options)
    : authorization_(bearer(options.key)), timeout_(options.timeout), in_flight_(options.in_flight) {
  const auto target = target_of(addresses);
  if (timeout_.count() <= 0) refuse("timeout is not above 0, so that no call can meet it");
  if (in_flight_ < 1) refuse("in_flight is not 1 or more");
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(service_config(options.health_checks));
  arguments.SetMaxReceiveMessageSize(kMaxAnswerBytes);
  arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, kRetryBufferBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMilliseconds);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMilliseconds);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // 0 is no bound: the interval is one
  arguments.SetUserAgentPrefix("semserve-cpp");
  if (std::all_of(addresses.begin(), addresses.end(), is_local)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  auto name = options.server_name;
  if (name.empty() && has_tls(options) && addresses.size() > 1) name = host_of(trimmed(addresses.front()));
  if (!name.empty()) arguments.SetSslTargetNameOverride(name);
  channel_ = grpc::CreateCustomChannel(target, credentials(options), arguments);
}

void Connection::authorize(grpc::ClientContext& context) const {
  if (!authorization_.empty()) context.AddMetadata("authorization", authorization_);
}

}  // namespace semserve::internal
