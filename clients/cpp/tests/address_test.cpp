#include "address.h"

#include <gtest/gtest.h>

#include "scripted.h"

namespace semserve {
namespace {

TEST(Address, GoodOnesAreTaken) {
  EXPECT_EQ("localhost:50051", target_of(" localhost:50051\n"));
  for (const std::string address : {"[::1]:65535", "unix:/run/semserve", "dns:///host:1", "dns://8.8.8.8/host:1"}) {
    EXPECT_EQ(address, target_of(address));
  }
}

TEST(Address, BadOnesAreRefusedWithWhatToWrite) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "no port"}, {"localhost", "no port"}, {"localhost:", "no port"}, {":50051", "no host"},
      {"[]:50051", "no host"}, {"::1:50051", "[IPV6]:PORT"}, {"localhost:0", "from 1 to 65535"},
      {"localhost:+80", "from 1 to 65535"}, {"localhost:99999", "from 1 to 65535"}, {"local host:1", "a space"},
      {"HTTPS://host:1/", "write host:1;"}, {"dns:host", "no port"}};
  for (const auto& [address, told] : cases) {
    try {
      target_of(address);
      ADD_FAILURE() << "'" << address << "' was taken";
    } catch (const Error& error) {
      EXPECT_EQ(StatusCode::INVALID_ARGUMENT, error.code());
      EXPECT_NE(std::string::npos, error.message().find(told)) << error.what();
    }
  }
}

TEST(Address, SeveralMakeOneTargetOfOneFamily) {
  EXPECT_EQ("ipv4:127.0.0.1:1,127.0.0.2:2", target_of(std::vector<std::string>{"127.0.0.1:1", "127.0.0.2:2"}));
  EXPECT_EQ("ipv6:[::1]:1,[::2]:2", target_of(std::vector<std::string>{"[::1]:1", "[::2]:2"}));
  for (const std::vector<std::string>& bad :
       {std::vector<std::string>{}, {"127.0.0.1:1", "[::1]:2"}, {"127.0.0.1:1", "localhost:2"}}) {
    EXPECT_EQ(StatusCode::INVALID_ARGUMENT, code_of([&] { target_of(bad); }));
  }
}

TEST(Address, OfThisMachineIsLocal) {
  for (const std::string address : {"localhost:1", "LOCALHOST.:1", "a.localhost:1", "127.9.9.9:1", "[::1]:1",
                                    "unix:/run/semserve", "0.0.0.0:1"}) {
    EXPECT_TRUE(is_local(address)) << address;
  }
  for (const std::string address : {"semserve.example:1", "10.0.0.1:1", "[2001:db8::1]:1", "127.example:1"}) {
    EXPECT_FALSE(is_local(address)) << address;
  }
}

}  // namespace
}  // namespace semserve
