// Any bytes as an MQTT packet of either version are refused, or are a packet that, written again, reads as the same.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mqtt/packet.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace::mqtt;
  constexpr std::size_t kBytesMax = 1 << 16;
  // Exactly as long as it may be read: AddressSanitizer sees a byte too many.
  const std::vector<char> bytes(data, data + size);
  const std::string_view input(bytes.data(), bytes.size());
  const auto whole = PacketBytes(input, kBytesMax);
  if (!whole.ok()) {
    const auto kind = millrace::KindOf(whole.status());
    Require(kind == millrace::ErrorKind::kInvalidInput || kind == millrace::ErrorKind::kTooLarge);
    return 0;
  }
  if (!*whole) {
    Require(size < kHeadBytesMax);
    return 0;
  }
  Require(**whole >= 2 && **whole <= kBytesMax);
  if (**whole > size) return 0;
  const std::string_view packet_bytes = input.substr(0, **whole);
  for (const Version version : {Version::k311, Version::k5}) {
    const auto packet = ReadPacket(packet_bytes, version);
    if (!packet.ok()) {
      Require(ReasonOf(packet.status()) != reason::kUnspecified);
      continue;
    }
    std::string written = "before";
    Require(AppendPacket(*packet, version, written).ok() && written.starts_with("before"));
    written.erase(0, 6);
    Require(written.size() <= packet_bytes.size());
    const auto again = ReadPacket(written, version);
    Require(again.ok() && *again == *packet);
  }
  return 0;
}
