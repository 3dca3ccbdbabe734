#include "oracle_events.h"

#include <arrow/builder.h>
#include <fmt/format.h>

#include "base/status.h"

namespace millrace::oracle {
namespace {

constexpr UnixMicros kBegin = 1'767'225'600'000'000;  // 2026-01-01T00:00:00Z
constexpr std::int64_t kHour = 3'600'000'000;

template <typename Builder, typename Get>
std::shared_ptr<arrow::Array> Column(const std::vector<Event>& events, Builder builder, Get get) {
  for (const auto& event : events) {
    if (event.fate != Fate::kRow) continue;
    const auto value = get(event);
    const Status appended = value ? builder.Append(*value) : builder.AppendNull();
    MILLRACE_CHECK(appended.ok(), "{}", appended.ToString());
  }
  return builder.Finish().ValueOrDie();
}

// 12.34 as 12.34, 12.340 or "12.34".
std::string AmountJson(std::int64_t cents, std::mt19937& random) {
  const std::string text =
      fmt::format("{}{}.{:02}", cents < 0 ? "-" : "", std::abs(cents) / 100, std::abs(cents) % 100);
  switch (random() % 3) {
    case 0:
      return text;
    case 1:
      return text + "0";
    default:
      return '"' + text + '"';
  }
}

std::string TextJson(const std::string& text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') json += '\\';
    json += c;
  }
  return json + '"';
}

}  // namespace

ingest::DecodeSpec Columns() {
  ingest::DecodeSpec spec;
  const auto add = [&spec](const char* name, std::shared_ptr<arrow::DataType> type) {
    spec.columns.push_back({.name = name, .type = std::move(type), .path = {name}});
  };
  add("id", arrow::int64());
  add("k1", arrow::utf8());
  add("k2", arrow::int32());
  add("amount", arrow::decimal128(12, 2));
  add("x", arrow::float64());
  add("q", arrow::int64());
  add("txt", arrow::utf8());
  add("flag", arrow::boolean());
  add("ts", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"));
  spec.columns.back().form = ingest::TimestampForm::kMicros;
  return spec;
}

Event RandomEvent(std::mt19937& random, std::int64_t id) {
  const auto one_in = [&random](unsigned n) { return random() % n == 0; };
  const auto between = [&random](std::int64_t from, std::int64_t to) {
    return std::uniform_int_distribution<std::int64_t>(from, to)(random);
  };
  Event event;
  event.id = id;
  event.logged = kBegin + id * 50'000;
  if (one_in(50)) {
    event.fate = Fate::kBadPayload;
    return event;
  }
  if (one_in(60)) {
    event.fate = Fate::kTombstone;
    return event;
  }
  static const char* const kNames[] = {"a", "b", "", "\xC3\xBC \"q\" \\",
                                       "a long one, longer than what strings keep inline"};
  if (!one_in(6)) event.k1 = kNames[random() % 5];
  if (!one_in(6)) event.k2 = static_cast<std::int32_t>(between(-1, 3));
  if (!one_in(8)) event.cents = one_in(20) ? between(-999'999'999'999, 999'999'999'999) : between(-5'000, 100'000);
  if (!one_in(8)) event.x = static_cast<double>(between(0, 1'000'000'000)) / 1024.0 / 3.0;
  if (!one_in(8)) event.q = one_in(20) ? between(INT64_MIN, INT64_MAX) : between(-20, 1000);
  if (!one_in(8))
    event.txt = one_in(15) ? (one_in(2) ? "none" : "2147483648") : std::to_string(between(-1000, 1'000'000));
  if (!one_in(5)) event.flag = one_in(2);
  if (!one_in(40)) {
    event.ts = event.logged - between(0, 5'000'000);
    if (one_in(30)) event.ts = *event.ts - between(0, 5 * kHour);
    if (one_in(200)) event.ts = -between(1, 3 * kHour);
    if (one_in(40)) event.ts = event.logged + between(kMaxFutureMicros - 2, kMaxFutureMicros + 2);
    if (*event.ts > event.logged + kMaxFutureMicros) event.fate = Fate::kTooFarAhead;
  }
  return event;
}

std::optional<std::string> ToPayload(const Event& event, std::mt19937& random) {
  if (event.fate == Fate::kTombstone) return std::nullopt;
  if (event.fate == Fate::kBadPayload) {
    static const char* const kBad[] = {
        "",          "{",          R"({"id": "one"})",    R"({"id": 1, "k2": 3000000000})",
        "[1, 2, 3]", "\xFF\xFE{}", R"({"amount": 0.001})"};
    return kBad[random() % 7];
  }
  std::string json = fmt::format("{{\"id\": {}", *event.id);
  const auto add = [&](const char* name, bool present, const std::string& value) {
    if (present) {
      json += fmt::format(", \"{}\": {}", name, value);
    } else if (random() % 2 == 0) {  // An absent field is a null too.
      json += fmt::format(", \"{}\": null", name);
    }
  };
  add("k1", event.k1.has_value(), TextJson(event.k1.value_or("")));
  add("k2", event.k2.has_value(), std::to_string(event.k2.value_or(0)));
  add("amount", event.cents.has_value(), AmountJson(event.cents.value_or(0), random));
  add("x", event.x.has_value(), fmt::format("{}", event.x.value_or(0)));
  add("q", event.q.has_value(), std::to_string(event.q.value_or(0)));
  add("txt", event.txt.has_value(), TextJson(event.txt.value_or("")));
  add("flag", event.flag.has_value(), event.flag.value_or(false) ? "true" : "false");
  add("ts", event.ts.has_value(), std::to_string(event.ts.value_or(0)));
  if (random() % 10 == 0) json += R"(, "more": {"deep": [1, {"id": 2}]})";
  return json + "}";
}

std::shared_ptr<arrow::RecordBatch> ToBatch(const std::vector<Event>& events) {
  const auto amount_type = arrow::decimal128(12, 2);
  const auto time_type = arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  auto* const pool = arrow::default_memory_pool();
  arrow::ArrayVector columns = {
      Column(events, arrow::Int64Builder(), [](const Event& e) { return e.id; }),
      Column(events, arrow::StringBuilder(), [](const Event& e) { return e.k1; }),
      Column(events, arrow::Int32Builder(), [](const Event& e) { return e.k2; }),
      Column(events, arrow::Decimal128Builder(amount_type),
             [](const Event& e) { return e.cents ? std::optional(arrow::Decimal128(*e.cents)) : std::nullopt; }),
      Column(events, arrow::DoubleBuilder(), [](const Event& e) { return e.x; }),
      Column(events, arrow::Int64Builder(), [](const Event& e) { return e.q; }),
      Column(events, arrow::StringBuilder(), [](const Event& e) { return e.txt; }),
      Column(events, arrow::BooleanBuilder(), [](const Event& e) { return e.flag; }),
      Column(events, arrow::TimestampBuilder(time_type, pool), [](const Event& e) { return e.ts; }),
      Column(events, arrow::Int32Builder(), [](const Event& e) { return std::optional(e.partition); }),
      Column(events, arrow::Int64Builder(), [](const Event& e) { return std::optional(e.offset); }),
  };
  const auto schema = arrow::schema(
      {arrow::field("id", arrow::int64()), arrow::field("k1", arrow::utf8()), arrow::field("k2", arrow::int32()),
       arrow::field("amount", amount_type), arrow::field("x", arrow::float64()), arrow::field("q", arrow::int64()),
       arrow::field("txt", arrow::utf8()), arrow::field("flag", arrow::boolean()), arrow::field("ts", time_type),
       arrow::field("_partition", arrow::int32()), arrow::field("_offset", arrow::int64())});
  const auto rows = columns.front()->length();
  return arrow::RecordBatch::Make(schema, rows, std::move(columns));
}

}  // namespace millrace::oracle
