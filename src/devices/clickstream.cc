#include "devices/clickstream.h"

#include <charconv>
#include <cmath>

#include "base/status.h"

namespace millrace::devices {
namespace {

constexpr std::size_t kTableSize = 4096;
constexpr std::array<std::string_view, 40> kCountries = {"US", "IN", "BR", "DE", "GB", "FR", "JP", "CN", "ID", "MX",
                                                         "ES", "IT", "CA", "NL", "PL", "TR", "KR", "AU", "SE", "AR",
                                                         "VN", "CH", "PT", "ZA", "BE", "AT", "DK", "NO", "FI", "CZ",
                                                         "IE", "GR", "RO", "NZ", "CL", "CO", "EG", "NG", "KE", "IS"};
constexpr std::size_t kPages = 200;
constexpr std::array<std::string_view, 8> kSections = {"/home",     "/search",  "/product", "/cart",
                                                       "/checkout", "/account", "/help",    "/blog"};
// By 4 random bits.
constexpr std::array<std::string_view, 16> kActions = {"view",   "view",   "view",        "view",    "view",  "view",
                                                       "view",   "view",   "click",       "click",   "click", "click",
                                                       "scroll", "scroll", "add_to_cart", "purchase"};

// The nth of `count` things has a share proportional to 1/n.
template <typename Index>
std::vector<Index> ZipfTable(std::size_t count) {
  double sum = 0;
  for (std::size_t n = 1; n <= count; ++n) sum += 1.0 / static_cast<double>(n);
  std::vector<Index> table(kTableSize);
  double share = 0;
  std::size_t at = 0;
  for (std::size_t n = 1; n <= count; ++n) {
    share += 1.0 / static_cast<double>(n) / sum;
    const auto end = static_cast<std::size_t>(std::lround(share * kTableSize));
    while (at < end && at < kTableSize) table[at++] = static_cast<Index>(n - 1);
  }
  while (at < kTableSize) table[at++] = 0;
  return table;
}

std::uint64_t Mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

void AppendHex(std::string& out, std::uint64_t value, int digits) {
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4) out += "0123456789abcdef"[(value >> shift) & 15];
}

void AppendDigits(std::string& out, std::uint64_t value, int digits) {
  char text[20];
  for (int i = digits; i-- > 0; value /= 10) text[i] = static_cast<char>('0' + value % 10);
  out.append(text, static_cast<std::size_t>(digits));
}

void AppendNumber(std::string& out, std::uint64_t value) {
  char text[20];
  out.append(text, std::to_chars(text, text + sizeof(text), value).ptr);
}

void AppendTime(std::string& out, UnixMicros time) {
  const std::chrono::sys_time<std::chrono::microseconds> point{std::chrono::microseconds(time)};
  const auto day = std::chrono::floor<std::chrono::days>(point);
  const std::chrono::year_month_day date(day);
  const auto micros = static_cast<std::uint64_t>((point - day).count());
  AppendDigits(out, static_cast<std::uint64_t>(static_cast<int>(date.year())), 4);
  out += '-';
  AppendDigits(out, static_cast<unsigned>(date.month()), 2);
  out += '-';
  AppendDigits(out, static_cast<unsigned>(date.day()), 2);
  out += 'T';
  AppendDigits(out, micros / 3'600'000'000, 2);
  out += ':';
  AppendDigits(out, micros / 60'000'000 % 60, 2);
  out += ':';
  AppendDigits(out, micros / 1'000'000 % 60, 2);
  out += '.';
  AppendDigits(out, micros % 1'000'000, 6);
  out += 'Z';
}

}  // namespace

Clickstream::Clickstream(const ClickstreamOptions& options)
    : options_(options),
      state_(Mix(options.seed)),
      country_of_(ZipfTable<std::uint8_t>(kCountries.size())),
      page_of_(ZipfTable<std::uint16_t>(kPages)) {
  MILLRACE_CHECK(options.late_fraction >= 0 && options.duplicate_fraction >= 0 && options.malformed_fraction >= 0 &&
                 options.late_fraction + options.duplicate_fraction + options.malformed_fraction <= 1 &&
                 options.devices > 0);
}

// SplitMix64 (Steele, Lea and Flood, 2014).
std::uint64_t Clickstream::Random() {
  state_ += 0x9e3779b97f4a7c15;
  return Mix(state_);
}

ClickstreamEvent Clickstream::Next(UnixMicros now) {
  // 53 bits make a double in [0, 1) of equal steps.
  double dice = static_cast<double>(Random() >> 11) * 0x1p-53;
  const auto is = [&dice](double fraction) {
    dice -= fraction;
    return dice < 0;
  };
  ClickstreamEvent event;
  if (is(options_.duplicate_fraction) && count_ > 0) {
    const Remembered& earlier = recent_[Random() % std::min<std::uint64_t>(count_, kRemembered)];
    event.duplicate = true;
    event.payload = earlier.payload;
    event.key = earlier.key;
    event.event_time = earlier.event_time;
    return event;
  }
  event.late = dice >= 0 && is(options_.late_fraction);
  event.malformed = dice >= 0 && is(options_.malformed_fraction);
  event.event_time = now;
  if (event.late) {
    const auto most = std::chrono::duration_cast<std::chrono::microseconds>(options_.max_lateness).count();
    constexpr UnixMicros kLeast = 1'000'000;
    event.event_time -=
        kLeast + static_cast<UnixMicros>(Random() % static_cast<std::uint64_t>(std::max<UnixMicros>(1, most - kLeast)));
  }
  Remembered& slot = recent_[count_++ % kRemembered];
  Write(slot, event.event_time);
  event.key = slot.key;
  event.payload = slot.payload;
  if (event.malformed) {
    // The whole one stays: a duplicate of it later on is an event.
    malformed_ = slot.payload;
    Malform(malformed_);
    event.payload = malformed_;
  }
  return event;
}

void Clickstream::Write(Remembered& event, UnixMicros event_time) {
  const std::uint64_t device = Random() % options_.devices;
  const std::uint64_t low = Random();
  const std::uint64_t choices = Random();
  // A stable property of the device; its session lasts half an hour.
  const std::uint64_t traits = Mix(device + 1);
  const std::uint64_t session = Mix(traits ^ static_cast<std::uint64_t>(event_time / 1'800'000'000));

  event.event_time = event_time;
  event.key = "device-";
  AppendDigits(event.key, device, 7);

  std::string& out = event.payload;
  out.clear();
  out += R"({"event_id":")";
  // The count makes it unique, the seed keeps two simulators apart.
  const std::uint64_t high = Mix(options_.seed) ^ count_;
  AppendHex(out, high >> 32, 8);
  out += '-';
  AppendHex(out, high >> 16, 4);
  out += "-4";
  AppendHex(out, low >> 52, 3);
  out += "-a";
  AppendHex(out, low >> 40, 3);
  out += '-';
  // Not from random bits alone: here too the count rules out a repeat.
  AppendHex(out, (high & 0xffff) << 32 | (low & 0xffffffff), 12);
  out += R"(","ts":")";
  AppendTime(out, event_time);
  out += R"(","device_id":")";
  out += event.key;
  out += R"(","user_id":)";
  AppendNumber(out, 10'000 + traits % 900'000);
  out += R"(,"session_id":")";
  AppendHex(out, session, 12);
  out += R"(","country":")";
  out += kCountries[country_of_[traits >> 52]];
  out += R"(","page":")";
  const std::uint64_t page = page_of_[choices & (kTableSize - 1)];
  out += kSections[page % kSections.size()];
  if (page >= kSections.size()) {
    out += '/';
    AppendNumber(out, page / kSections.size());
  }
  const std::string_view action = kActions[choices >> 12 & 15];
  out += R"(","action":")";
  out += action;
  out += R"(","latency_ms":)";
  // The product of two uniform numbers: most are small, a few are near a second.
  const std::uint64_t latency_us = ((choices >> 16 & 1023) + 1) * ((choices >> 26 & 1023) + 1);
  AppendNumber(out, latency_us / 1000);
  out += '.';
  AppendDigits(out, latency_us % 1000, 3);
  out += R"(,"amount":)";
  const std::uint64_t cents = action == "purchase" ? 99 + (choices >> 36) % 50'000 : 0;
  AppendNumber(out, cents / 100);
  out += '.';
  AppendDigits(out, cents % 100, 2);
  out += '}';
}

void Clickstream::Malform(std::string& payload) {
  const std::uint64_t choice = Random();
  switch (choice & 3) {
    case 0:
      payload.resize(1 + (choice >> 2) % (payload.size() - 1));
      break;
    case 1:
      payload.replace(payload.find(R"("latency_ms":)") + 13, 1, R"("slow")");
      payload.erase(payload.find(R"("slow")") + 6, payload.find(R"(,"amount")") - payload.find(R"("slow")") - 6);
      break;
    case 2:
      payload = "<html><body>502 Bad Gateway</body></html>";
      break;
    default:
      payload.replace(payload.find(R"("country":")") + 11, 2, "\xff\xfe");
  }
}

}  // namespace millrace::devices
