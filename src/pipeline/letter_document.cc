#include "pipeline/letter_document.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "model/payload_text.h"
#include "query/time_expression.h"

namespace millrace::pipeline {
namespace {

namespace json = boost::json;

json::object BytesToJson(const std::string& name, const std::optional<std::string>& bytes) {
  if (!bytes) return {{name, nullptr}};
  if (model::IsPlainText(*bytes)) return {{name, *bytes}};
  return {{name + "_hex", model::Hex(*bytes)}};
}

struct Group {
  std::int64_t letters = 0;
  UnixMicros first = INT64_MAX;
  UnixMicros last = INT64_MIN;
};

// A letter without its bytes; the larger is the newer.
using Place = std::tuple<UnixMicros, std::string, std::int32_t, model::DocumentPlace, std::int64_t, std::string>;

Place PlaceOf(const StoredLetter& stored) {
  const auto& letter = stored.letter;
  return {letter.timestamp, letter.source.topic, letter.source.partition, letter.place(), stored.replay, letter.stage};
}

std::int64_t BytesOf(const StoredLetter& stored) {
  const auto& letter = stored.letter;
  std::size_t bytes = letter.payload.size() + letter.detail.size() + letter.key.value_or("").size();
  for (const auto& [name, value] : letter.headers) bytes += name.size() + value.value_or("").size();
  return static_cast<std::int64_t>(bytes);
}

Result<json::array> Samples(const delta::Table& table, const std::set<Place>& newest,
                            const std::function<Status()>& check) {
  json::array samples;
  if (newest.empty()) return samples;
  std::map<Place, StoredLetter, std::greater<>> found;
  std::int64_t bytes = 0;
  LetterQuery query;
  query.and_also = {{"timestamp", delta::Comparator::kGreaterEqual, {std::get<0>(*newest.begin())}}};
  RETURN_NOT_OK(VisitLetters(table, query, [&](StoredLetter stored) -> Status {
    RETURN_NOT_OK(check());
    auto place = PlaceOf(stored);
    if (!newest.contains(place)) return Status::OK();
    bytes += BytesOf(stored);
    found.insert_or_assign(std::move(place), std::move(stored));
    // The oldest goes first.
    while (bytes > kSampleBytesMax && found.size() > 1) {
      bytes -= BytesOf(std::prev(found.end())->second);
      found.erase(std::prev(found.end()));
    }
    return Status::OK();
  }));
  for (const auto& [place, stored] : found) samples.push_back(LetterJson(stored));
  return samples;
}

}  // namespace

json::object LetterJson(const StoredLetter& stored) {
  const auto& letter = stored.letter;
  json::object object{{"topic", letter.source.topic},
                      {"partition", letter.source.partition},
                      {"offset", letter.offset},
                      {"index", letter.index == model::kWholeRecord ? json::value(nullptr) : json::value(letter.index)},
                      {"timestamp", query::FormatTime(letter.timestamp)},
                      {"stage", letter.stage},
                      {"reason", letter.reason},
                      {"detail", letter.detail},
                      {"replay", stored.replay == 0 ? json::value(nullptr) : json::value(stored.replay)}};
  for (auto& member : BytesToJson("key", letter.key)) object.insert(member);
  json::array headers;
  for (const auto& [name, value] : letter.headers) {
    json::object header{{"key", name}};
    for (auto& member : BytesToJson("value", value)) header.insert(member);
    headers.push_back(std::move(header));
  }
  object["headers"] = std::move(headers);
  for (auto& member : BytesToJson("payload", letter.payload)) object.insert(member);
  return object;
}

Result<json::object> LettersDocument(const delta::Table& table, const std::string& reason, std::int64_t limit,
                                     const std::stop_token& stop) {
  const auto check = [&stop]() -> Status {
    return stop.stop_requested() ? Cancelled("dead letters: nobody waits for them") : Status::OK();
  };
  std::map<std::pair<std::string, std::string>, Group> groups;
  std::set<Place> newest;
  std::int64_t total = 0;
  LetterQuery query;
  query.with_bytes = false;
  RETURN_NOT_OK(VisitLetters(table, query, [&](const StoredLetter& stored) -> Status {
    RETURN_NOT_OK(check());
    const auto& letter = stored.letter;
    if (!reason.empty() && letter.reason != reason) return Status::OK();
    ++total;
    auto& group = groups[{letter.stage, letter.reason}];
    ++group.letters;
    group.first = std::min(group.first, letter.timestamp);
    group.last = std::max(group.last, letter.timestamp);
    const bool is_full = std::ssize(newest) == limit;
    if (limit == 0 || (is_full && letter.timestamp < std::get<0>(*newest.begin()))) return Status::OK();
    newest.insert(PlaceOf(stored));
    if (std::ssize(newest) > limit) newest.erase(newest.begin());
    return Status::OK();
  }));
  json::array reasons;
  for (const auto& [key, group] : groups) {
    reasons.push_back(json::object{{"stage", key.first},
                                   {"reason", key.second},
                                   {"letters", group.letters},
                                   {"first", query::FormatTime(group.first)},
                                   {"last", query::FormatTime(group.last)}});
  }
  ASSIGN_OR_RETURN(auto samples, Samples(table, newest, check));
  return json::object{{"version", table.snapshot()->version},
                      {"letters", total},
                      {"reasons", std::move(reasons)},
                      {"samples", std::move(samples)}};
}

}  // namespace millrace::pipeline
