#include "devices/clickstream.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <numeric>

#include "base/status.h"

namespace millrace::devices {
namespace {

enum Column {
  kEventId,
  kTs,
  kDeviceId,
  kUserId,
  kSessionId,
  kCountry,
  kPage,
  kAction,
  kLatency,
  kAmount,
  kUserAgent,
  kReferrer,
  kCampaign,
  kNumColumns
};

constexpr std::array<Field, kNumColumns> kFields = {{{"event_id"},
                                                     {"ts", FieldKind::kTime},
                                                     {"device_id"},
                                                     {"user_id", FieldKind::kInteger, 0, true},
                                                     {"session_id"},
                                                     {"country"},
                                                     {"page"},
                                                     {"action"},
                                                     {"latency_ms", FieldKind::kReal, 3},
                                                     {"amount", FieldKind::kDecimal, 2},
                                                     {"user_agent"},
                                                     {"referrer", FieldKind::kText, 0, true},
                                                     {"campaign", FieldKind::kText, 0, true}}};
constexpr Shape kShape = {.name = "Click", .fields = kFields, .text_field = kCountry, .number_field = kLatency};

constexpr std::size_t kTableSize = 4096;
constexpr std::array<std::string_view, 40> kCountries = {"US", "IN", "BR", "DE", "GB", "FR", "JP", "CN", "ID", "MX",
                                                         "ES", "IT", "CA", "NL", "PL", "TR", "KR", "AU", "SE", "AR",
                                                         "VN", "CH", "PT", "ZA", "BE", "AT", "DK", "NO", "FI", "CZ",
                                                         "IE", "GR", "RO", "NZ", "CL", "CO", "EG", "NG", "KE", "IS"};
constexpr std::size_t kPagesOfSection = 25;

enum Section { kHome, kSearch, kProduct, kCart, kCheckout, kAccount, kHelp, kBlog, kNumSections };
constexpr std::array<std::string_view, kNumSections> kSections = {"/home",     "/search",  "/product", "/cart",
                                                                  "/checkout", "/account", "/help",    "/blog"};
// From a section to the next, in 256ths; the rest leaves.
constexpr std::array<std::array<int, kNumSections>, kNumSections> kTransitions = {{{10, 60, 90, 6, 0, 20, 10, 20},
                                                                                   {10, 60, 130, 4, 0, 4, 4, 4},
                                                                                   {15, 40, 100, 45, 0, 6, 6, 6},
                                                                                   {10, 15, 60, 20, 90, 6, 5, 0},
                                                                                   {25, 10, 15, 15, 40, 30, 10, 0},
                                                                                   {40, 30, 60, 10, 10, 30, 20, 10},
                                                                                   {30, 30, 40, 5, 5, 40, 50, 10},
                                                                                   {30, 30, 50, 2, 0, 6, 6, 80}}};
// Where a session begins, in 256ths.
constexpr std::array<int, kNumSections> kEntries = {110, 30, 70, 0, 0, 10, 6, 30};
static_assert(std::accumulate(kEntries.begin(), kEntries.end(), 0) == 256);

// By 4 random bits.
constexpr std::array<std::string_view, 16> kLooks = {"view",  "view",  "view",   "view",  "view",  "view",
                                                     "view",  "view",  "view",   "view",  "click", "click",
                                                     "click", "click", "scroll", "scroll"};
// Empty: the visitor typed the address.
constexpr std::array<std::string_view, 16> kReferrers = {"",
                                                         "",
                                                         "",
                                                         "",
                                                         "",
                                                         "",
                                                         "https://www.google.com/",
                                                         "https://www.google.com/",
                                                         "https://www.google.com/",
                                                         "https://www.google.com/",
                                                         "https://www.bing.com/",
                                                         "https://duckduckgo.com/",
                                                         "https://www.facebook.com/",
                                                         "https://www.instagram.com/",
                                                         "https://news.ycombinator.com/",
                                                         "https://mail.example.com/"};
constexpr std::array<std::string_view, 16> kCampaigns = {
    "spring-sale", "newsletter-12", "brand-search", "retargeting", "", "", "", "", "", "", "", "", "", "", "", ""};
constexpr std::array<std::string_view, 8> kBrowsers = {"Chrome/126 Android", "Chrome/126 Android", "Safari/17 iPhone",
                                                       "Safari/17 iPhone",   "Chrome/126 Windows", "Edge/126 Windows",
                                                       "Firefox/127 Linux",  "Safari/17 Mac"};
constexpr std::array<std::string_view, 4> kRobots = {"Googlebot/2.1", "bingbot/2.0", "GPTBot/1.1", "curl/8.5"};

constexpr std::int64_t kHour = 3'600'000'000;
// Visitors by the hour of the day and by the day of the week (from Thursday, which 1970-01-01 was); 1000 on average.
constexpr std::array<std::int64_t, 24> kHours = {420,  300,  240,  220,  240,  330,  500,  750,  980,  1130, 1210, 1250,
                                                 1260, 1240, 1230, 1250, 1310, 1420, 1560, 1680, 1720, 1600, 1280, 880};
constexpr std::array<std::int64_t, 7> kDays = {1010, 950, 980, 1090, 1010, 980, 980};
static_assert(std::accumulate(kHours.begin(), kHours.end(), std::int64_t{0}) == 24'000);
static_assert(std::accumulate(kDays.begin(), kDays.end(), std::int64_t{0}) == 7'000);

// The nth of `count` things has a share proportional to 1/n.
std::vector<std::uint8_t> ZipfTable(std::size_t count) {
  double sum = 0;
  for (std::size_t n = 1; n <= count; ++n) sum += 1.0 / static_cast<double>(n);
  std::vector<std::uint8_t> table(kTableSize);
  double share = 0;
  std::size_t at = 0;
  for (std::size_t n = 1; n <= count; ++n) {
    share += 1.0 / static_cast<double>(n) / sum;
    const auto end = static_cast<std::size_t>(std::lround(share * kTableSize));
    while (at < end && at < kTableSize) table[at++] = static_cast<std::uint8_t>(n - 1);
  }
  while (at < kTableSize) table[at++] = 0;
  return table;
}

// Which of the parts, of 256ths, a number from 0 to 255 falls into; their number: into none.
template <std::size_t kSize>
std::size_t PartOf(const std::array<int, kSize>& parts, int number) {
  std::size_t part = 0;
  for (; part < kSize && number >= parts[part]; ++part) number -= parts[part];
  return part;
}

// As often 1 to 2 s as 2 to 128 s, and so on: most look on quickly, a few make tea. Robots do neither.
UnixMicros ThinkTime(bool is_robot, std::uint64_t bits) {
  constexpr UnixMicros kSecond = 1'000'000;
  if (is_robot) return kSecond / 5 + static_cast<UnixMicros>(Below(kSecond, bits));
  const int doublings = std::min(std::countr_zero(bits | 1 << 6), 6);
  return (kSecond << doublings) +
         static_cast<UnixMicros>(Below(static_cast<std::uint64_t>(kSecond) << doublings, bits));
}

void WriteNumber(std::string& out, std::uint64_t value, int digits) {
  char text[20];
  for (int i = digits; i-- > 0; value /= 10) text[i] = static_cast<char>('0' + value % 10);
  out.append(text, static_cast<std::size_t>(digits));
}

Value TextOrNull(std::string_view text) { return {.text = text, .is_null = text.empty()}; }

}  // namespace

std::int64_t ActivityPermille(UnixMicros time) {
  const std::int64_t hour = time / kHour;
  const std::int64_t past = time % kHour;
  const std::int64_t now = kHours[static_cast<std::size_t>(hour % 24)];
  const std::int64_t next = kHours[static_cast<std::size_t>((hour + 1) % 24)];
  const std::int64_t of_day = now + (next - now) * (past / 1000) / (kHour / 1000);
  return of_day * kDays[static_cast<std::size_t>(hour / 24 % 7)] / 1000;
}

Clickstream::Clickstream(const ClickstreamOptions& options)
    : options_(options),
      max_open_(std::clamp<std::size_t>(options.devices / kDevicesOfOpenSession, 1, kOpenSessionsMax)),
      random_(Mix(options.seed, 2)),
      country_of_(ZipfTable(kCountries.size())),
      page_of_(ZipfTable(kPagesOfSection)),
      values_(kNumColumns) {
  MILLRACE_CHECK(options.devices > 0);
  open_.reserve(max_open_);
}

const Shape& Clickstream::shape() const { return kShape; }

bool Clickstream::IsDueLater(const Session& a, const Session& b) {
  return a.due != b.due ? a.due > b.due : a.number > b.number;
}

Clickstream::Session Clickstream::Open() {
  const std::uint64_t bits = random_.Next();
  // The square of a uniform number: the visitor of rank r comes as often as 1 / sqrt(r).
  const std::uint64_t uniform = random_.Next() >> 32;
  return {.number = num_sessions_++,
          .device = static_cast<std::uint32_t>(Below(options_.devices, uniform * uniform)),
          .section = static_cast<std::uint8_t>(PartOf(kEntries, static_cast<int>(bits & 255))),
          .is_robot = IsOf(options_.robots, Mix(bits))};
}

Clickstream::Session Clickstream::TakeNext(UnixMicros now) {
  if (open_.empty() || (open_.front().due > now && open_.size() < max_open_)) return Open();
  std::pop_heap(open_.begin(), open_.end(), IsDueLater);
  const Session session = open_.back();
  open_.pop_back();
  return session;
}

void Clickstream::MoveOn(Session session, UnixMicros now) {
  const std::uint64_t bits = random_.Next();
  auto next = PartOf(kTransitions[session.section], static_cast<int>(bits & 255));
  // Robots follow three links of four where others would leave, and buy nothing.
  if (session.is_robot && (next == kNumSections || next == kCart || next == kCheckout)) {
    next = (bits >> 8 & 3) == 0 ? kNumSections : kProduct;
  }
  if (next == kNumSections) return;
  session.section = static_cast<std::uint8_t>(next);
  session.is_landing = false;
  session.due = now + ThinkTime(session.is_robot, Mix(bits));
  open_.push_back(session);
  std::push_heap(open_.begin(), open_.end(), IsDueLater);
}

void Clickstream::Describe(const Session& session) {
  const std::uint64_t traits = Mix(session.device + std::uint64_t{1});
  const std::uint64_t choices = random_.Next();

  device_id_ = "device-";
  WriteNumber(device_id_, session.device, 7);
  values_[kDeviceId].text = device_id_;
  values_[kUserId] = {.number = static_cast<std::int64_t>(10'000 + traits % 900'000),
                      .is_null = session.is_robot || IsOf(options_.without_consent, Mix(traits))};
  session_id_.clear();
  const std::uint64_t session_bits = Mix(options_.seed, session.number);
  for (int shift = 44; shift >= 0; shift -= 4) session_id_ += "0123456789abcdef"[session_bits >> shift & 15];
  values_[kSessionId].text = session_id_;
  values_[kCountry].text = kCountries[country_of_[traits >> 52]];

  page_ = kSections[session.section];
  const unsigned page = page_of_[choices & (kTableSize - 1)];
  if (page > 0) {
    char text[4];
    page_ += '/';
    page_.append(text, std::to_chars(text, text + sizeof(text), page).ptr);
  }
  values_[kPage].text = page_;

  std::string_view action = kLooks[choices >> 12 & 15];
  if (session.section == kCart && (choices >> 16 & 3) != 0) action = "add_to_cart";
  const bool is_purchase = session.section == kCheckout && (choices >> 16 & 7) < 5;
  if (is_purchase) action = "purchase";
  values_[kAction].text = action;
  // The product of two uniform numbers: most are small, a few are near a second.
  values_[kLatency].number = static_cast<std::int64_t>(((choices >> 20 & 1023) + 1) * ((choices >> 30 & 1023) + 1));
  values_[kAmount].number = is_purchase ? 99 + static_cast<std::int64_t>((choices >> 40) % 50'000) : 0;
  values_[kUserAgent].text = session.is_robot ? kRobots[traits >> 8 & 3] : kBrowsers[traits >> 8 & 7];
  values_[kReferrer] = TextOrNull(session.is_landing && !session.is_robot ? kReferrers[choices >> 56 & 15] : "");
  values_[kCampaign] = TextOrNull(session.is_landing && !session.is_robot ? kCampaigns[choices >> 60 & 15] : "");
}

SourceEvent Clickstream::Next(UnixMicros now) {
  const Session session = TakeNext(now);
  Describe(session);
  MoveOn(session, now);
  const std::uint64_t dice = random_.Next();
  UnixMicros happened_at = now;
  if (IsOf(options_.late, dice)) {
    const auto most = std::chrono::duration_cast<std::chrono::microseconds>(options_.max_lateness).count();
    happened_at -=
        kLateMicros + static_cast<UnixMicros>(
                          Below(static_cast<std::uint64_t>(std::max<std::int64_t>(1, most - kLateMicros)), Mix(dice)));
  }
  values_[kTs].number = happened_at;
  return {.values = values_, .key = device_id_, .happened_at = happened_at};
}

}  // namespace millrace::devices
