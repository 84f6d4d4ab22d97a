#include "address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <string_view>

#include "semserve/error.h"
#include "text.h"

namespace semserve {
namespace {

[[noreturn]] void refuse(const std::string& address, const std::string& why) {
  throw Error(StatusCode::INVALID_ARGUMENT, "address '" + address + "' " + why);
}

bool starts_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

// The HOST:PORT of an address; empty where it is another target, such as a unix socket.
std::string_view endpoint(std::string_view address) {
  if (starts_with(address, "dns:")) {
    address.remove_prefix(4);
    if (starts_with(address, "//")) {  // dns://AUTHORITY/HOST:PORT
      const auto slash = address.find('/', 2);
      address.remove_prefix(slash == std::string_view::npos ? address.size() : slash + 1);
    }
    return address;
  }
  const bool is_target = starts_with(address, "unix") || address.find("://") != std::string_view::npos ||
                         starts_with(address, "ipv4:") || starts_with(address, "ipv6:");
  return is_target ? std::string_view() : address;
}

bool is_port(std::string_view port) {
  const bool is_number = !port.empty() && port.size() <= 5 &&
                         std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number) return false;
  const int number = std::stoi(std::string(port));
  return number >= 1 && number <= 65535;
}

void check_endpoint(const std::string& address, std::string_view endpoint) {
  const auto colon = endpoint.rfind(':');
  const auto host = endpoint.substr(0, colon);
  const bool is_bracketed = starts_with(host, "[") && !host.empty() && host.back() == ']';
  if (colon == std::string_view::npos || colon + 1 == endpoint.size()) {
    refuse(address, "has no port: write HOST:PORT, such as localhost:50051");
  }
  if (!is_bracketed && host.find(':') != std::string_view::npos) {
    refuse(address, "has several colons: write an IPv6 address as [IPV6]:PORT");
  }
  if (host.empty() || host == "[]") refuse(address, "has no host: write HOST:PORT");
  if (!is_port(endpoint.substr(colon + 1))) {
    refuse(address, "has the port '" + std::string(endpoint.substr(colon + 1)) + "', not one from 1 to 65535");
  }
}

// The family of an IP address: 4, 6, or 0 for a name.
int family_of(const std::string& host) {
  in_addr four;
  in6_addr six;
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) return 4;
  return inet_pton(AF_INET6, host.c_str(), &six) == 1 ? 6 : 0;
}

}  // namespace

std::string target_of(const std::string& written) {
  const auto address = trimmed(written);
  const auto is_bad = [](unsigned char c) { return c <= ' ' || c == 0x7f; };
  if (std::any_of(address.begin(), address.end(), is_bad)) {
    refuse(address, "has a space or a control character in it");
  }
  for (const std::string_view scheme : {"http://", "https://", "grpc://", "grpcs://", "tcp://"}) {
    if (starts_with(lower(address), scheme)) {
      auto plain = address.substr(scheme.size());
      plain.erase(plain.find_last_not_of('/') + 1);
      refuse(address, "has a scheme: write " + plain + "; ClientOptions::root_certificates asks for TLS");
    }
  }
  if (const auto name = endpoint(address); !name.empty() || address.empty()) check_endpoint(address, name);
  return address;
}

std::string target_of(const std::vector<std::string>& addresses) {
  if (addresses.empty()) throw Error(StatusCode::INVALID_ARGUMENT, "there is no address");
  if (addresses.size() == 1) return target_of(addresses.front());
  std::string joined;
  int family = 0;
  for (const auto& written : addresses) {
    const auto address = target_of(written);
    const int found = family_of(host_of(address));
    if (found == 0 || (family != 0 && found != family)) {
      refuse(address, "is one of several, which all have to be IPv4 addresses or all IPv6 addresses; a name that "
                      "resolves to several addresses is balanced by itself");
    }
    family = found;
    joined += (joined.empty() ? "" : ",") + address;
  }
  return (family == 4 ? "ipv4:" : "ipv6:") + joined;
}

std::string host_of(const std::string& address) {
  const auto name = endpoint(address);
  auto host = name.substr(0, name.rfind(':'));
  if (starts_with(host, "[")) host = host.substr(1, host.size() - 2);
  return std::string(host);
}

bool is_local(const std::string& address) {
  if (starts_with(address, "unix")) return true;
  auto host = lower(host_of(address));
  if (!host.empty() && host.back() == '.') host.pop_back();
  constexpr std::string_view kSuffix = ".localhost";
  const bool has_suffix = host.size() > kSuffix.size() &&
                          std::string_view(host).substr(host.size() - kSuffix.size()) == kSuffix;
  if (host == "localhost" || host == "ip6-localhost" || has_suffix || host == "::1" || host == "::") return true;
  return family_of(host) == 4 && (starts_with(host, "127.") || host == "0.0.0.0");
}

}  // namespace semserve
