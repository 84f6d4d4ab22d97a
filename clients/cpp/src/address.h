// Addresses: what a user writes, checked before any call.
#pragma once

#include <string>
#include <vector>

namespace semserve {

/// The target of one address: HOST:PORT, [IPV6]:PORT, unix:PATH, or another target that gRPC resolves.
/// @throws Error INVALID_ARGUMENT, with what to write instead.
std::string target_of(const std::string& address);

/// The target of several addresses, each IP:PORT, all of one family.
std::string target_of(const std::vector<std::string>& addresses);

/// The host of an address of the form HOST:PORT, without brackets; else empty.
std::string host_of(const std::string& address);

/// Whether an address is this machine's: loopback, or a unix socket. The proxy of the environment is not for it.
bool is_local(const std::string& address);

}  // namespace semserve
