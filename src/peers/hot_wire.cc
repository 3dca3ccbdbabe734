#include "peers/hot_wire.h"

#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/util/align_util.h>
#include <arrow/util/byte_size.h>
#include <arrow/util/key_value_metadata.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_from.hpp>
#include <boost/json/value_to.hpp>
#include <charconv>
#include <exception>
#include <optional>
#include <utility>

namespace millrace::peers {
namespace {

namespace json = boost::json;
using model::Window;

constexpr const char* kMetadataKey = "millrace.hot";
/// Of a buffer of decimals, which are read as __int128. Streams promise half of it unless the writer gives more.
constexpr int kAlignment = 16;

template <typename Integer>
json::value OrNull(const std::optional<Integer>& value) {
  return value ? json::value(*value) : json::value(nullptr);
}

std::optional<std::int64_t> IntegerOrNull(const json::value& value) {
  if (value.is_null()) return std::nullopt;
  return value.to_number<std::int64_t>();
}

// Runs `read`, which may find a member missing or of another kind.
template <typename Read>
auto Parse(const char* what, std::string_view text, Read read)
    -> Result<decltype(read(std::declval<const json::value&>()))> {
  try {
    return read(json::parse(text));
  } catch (const std::exception& error) {
    return InvalidInput("{}: {}", what, error.what());
  }
}

// {topic: {partition: value}}
template <typename Value, typename Write>
json::object ByTopic(const std::map<model::TopicPartition, Value>& values, Write write) {
  json::object topics;
  for (const auto& [source, value] : values) {
    auto& topic = topics[source.topic];
    if (topic.is_null()) topic = json::object();
    topic.as_object()[std::to_string(source.partition)] = write(value);
  }
  return topics;
}

template <typename Value, typename Read>
std::map<model::TopicPartition, Value> FromTopics(const json::value& topics, Read read) {
  std::map<model::TopicPartition, Value> values;
  for (const auto& [topic, partitions] : topics.as_object()) {
    for (const auto& [number, value] : partitions.as_object()) {
      std::int32_t partition = -1;
      const char* const end = number.data() + number.size();
      if (std::from_chars(number.data(), end, partition).ptr != end || partition < 0) {
        throw std::runtime_error("'" + std::string(number) + "' is not a partition");
      }
      values[{std::string(topic), partition}] = read(value);
    }
  }
  return values;
}

model::OffsetRange RangeFrom(const json::value& value) {
  const auto& pair = value.as_array();
  const model::OffsetRange range{pair.at(0).to_number<std::int64_t>(), pair.at(1).to_number<std::int64_t>()};
  if (range.begin < 0 || range.end < range.begin) throw std::runtime_error("a range ends before it begins");
  return range;
}

bool IsCoarsening(const Window& own, const Window& coarser) {
  if (coarser == own || coarser == Window::None()) return true;
  if (own.kind == Window::Kind::kCalendar) {
    if (coarser.kind != own.kind || coarser.size_us != 0 || coarser.pane_us != 0) return false;
    if (own.days > 0) return coarser.months == 0 && coarser.days > 0 && coarser.days % own.days == 0;
    return coarser.days == 0 && coarser.months > 0 && coarser.months % own.months == 0;
  }
  return own.has_windows() && coarser.size_us > 0 && coarser == Window::Tumbling(coarser.size_us) &&
         coarser.size_us % own.pane_us == 0;
}

// What a stream says beside its batches.
struct Described {
  HotAnswer answer;             // Segments without rows.
  std::vector<bool> have_rows;  // By segment.
};

std::string Describe(const HotAnswer& answer) {
  json::array segments;
  for (const auto& segment : answer.rows.segments) {
    segments.push_back(json::object{{"ranges", ByTopic(segment.ranges,
                                                       [](const auto& r) {
                                                         return json::value(json::array{r.begin, r.end});
                                                       })},
                                    {"rows", segment.rows != nullptr}});
  }
  return json::serialize(
      json::object{{"instance", answer.instance},
                   {"version", answer.rows.version},
                   {"watermark", OrNull(answer.rows.watermark)},
                   {"begun", ByTopic(answer.rows.begun, [](model::Offset offset) { return json::value(offset); })},
                   {"segments", std::move(segments)}});
}

Described DescribedFrom(const json::value& value) {
  Described described;
  described.answer.instance = json::value_to<std::string>(value.at("instance"));
  query::HotRows& rows = described.answer.rows;
  rows.version = value.at("version").to_number<std::int64_t>();
  rows.watermark = IntegerOrNull(value.at("watermark"));
  rows.begun = FromTopics<model::Offset>(value.at("begun"),
                                         [](const json::value& offset) { return offset.to_number<std::int64_t>(); });
  for (const auto& segment : value.at("segments").as_array()) {
    rows.segments.push_back({FromTopics<model::OffsetRange>(segment.at("ranges"), RangeFrom), nullptr});
    described.have_rows.push_back(segment.at("rows").as_bool());
  }
  return described;
}

}  // namespace

std::string ToJson(const HotQuestion& question) {
  const Window& window = question.window;
  return json::serialize(json::object{{"aggregate", question.aggregate},
                                      {"fingerprint", question.fingerprint},
                                      {"table_id", question.table_id},
                                      {"keys", json::value_from(question.keys)},
                                      {"window", json::object{{"kind", static_cast<int>(window.kind)},
                                                              {"size_us", window.size_us},
                                                              {"pane_us", window.pane_us},
                                                              {"days", window.days},
                                                              {"months", window.months}}},
                                      {"from", OrNull(question.range.from)},
                                      {"to", OrNull(question.range.to)},
                                      {"bytes_max", question.bytes_max}});
}

Result<HotQuestion> HotQuestionFromJson(std::string_view text) {
  return Parse("a question for hot rows", text, [](const json::value& value) {
    const auto& window = value.at("window");
    return HotQuestion{.aggregate = json::value_to<std::string>(value.at("aggregate")),
                       .fingerprint = json::value_to<std::string>(value.at("fingerprint")),
                       .table_id = json::value_to<std::string>(value.at("table_id")),
                       .keys = json::value_to<std::vector<std::string>>(value.at("keys")),
                       .window = {.kind = static_cast<Window::Kind>(window.at("kind").to_number<int>()),
                                  .size_us = window.at("size_us").to_number<std::int64_t>(),
                                  .pane_us = window.at("pane_us").to_number<std::int64_t>(),
                                  .days = window.at("days").to_number<int>(),
                                  .months = window.at("months").to_number<int>()},
                       .range = {.from = IntegerOrNull(value.at("from")), .to = IntegerOrNull(value.at("to"))},
                       .bytes_max = value.at("bytes_max").to_number<std::int64_t>()};
  });
}

Result<model::AggregateDefinition> CoarserOf(const model::AggregateDefinition& definition,
                                             const HotQuestion& question) {
  for (const auto& key : question.keys) {
    const auto is_key = [&](const model::AggregateKey& known) { return known.name == key; };
    if (std::none_of(definition.keys.begin(), definition.keys.end(), is_key)) {
      return InvalidInput("aggregate {} has no key '{}'", definition.name, key);
    }
  }
  Window window = question.window;
  if (window.kind == Window::Kind::kCalendar) window.zone = definition.window.zone;
  if (!IsCoarsening(definition.window, window)) {
    return InvalidInput("aggregate {}: its windows of {} cannot be made those that are asked for", definition.name,
                        definition.window.ToText());
  }
  return query::Coarser(definition, question.keys, window);
}

Result<std::string> ToArrowStream(const HotAnswer& answer, const model::AggregateDefinition& coarser,
                                  std::int64_t bytes_max) {
  std::int64_t bytes = 0;
  for (const auto& segment : answer.rows.segments) {
    if (segment.rows != nullptr) bytes += arrow::util::TotalBufferSize(*segment.rows);
  }
  if (bytes > bytes_max) {
    return TooLarge("aggregate {}: its hot rows take {} bytes, the answer may have {}", coarser.name, bytes, bytes_max);
  }
  const auto schema =
      model::PartialSchema(coarser)->WithMetadata(arrow::key_value_metadata({kMetadataKey}, {Describe(answer)}));
  ASSIGN_OR_RETURN(const auto out, arrow::io::BufferOutputStream::Create(bytes + 4096));
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.alignment = 64;
  ASSIGN_OR_RETURN(const auto writer, arrow::ipc::MakeStreamWriter(out, schema, options));
  for (const auto& segment : answer.rows.segments) {
    if (segment.rows != nullptr) RETURN_NOT_OK(writer->WriteRecordBatch(*segment.rows));
  }
  RETURN_NOT_OK(writer->Close());
  ASSIGN_OR_RETURN(const auto buffer, out->Finish());
  return buffer->ToString();
}

Result<HotAnswer> FromArrowStream(std::string bytes, const model::AggregateDefinition& coarser) {
  const auto source = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::move(bytes)));
  const auto opened = arrow::ipc::RecordBatchStreamReader::Open(source);
  if (!opened.ok()) return InvalidInput("not an Arrow stream: {}", opened.status().message());
  const auto& reader = *opened;
  const auto wanted = model::PartialSchema(coarser);
  if (!reader->schema()->Equals(*wanted, /*check_metadata=*/false)) {
    return InvalidInput("its rows have the columns [{}], not [{}]", reader->schema()->ToString(), wanted->ToString());
  }
  const auto& metadata = reader->schema()->metadata();
  const auto text = metadata == nullptr ? arrow::Status::KeyError(kMetadataKey) : metadata->Get(kMetadataKey);
  if (!text.ok()) return InvalidInput("its stream does not say which offsets the rows are of");
  ASSIGN_OR_RETURN(auto described, Parse("its stream's metadata", *text, DescribedFrom));
  for (std::size_t i = 0; i < described.have_rows.size(); ++i) {
    if (!described.have_rows[i]) continue;
    std::shared_ptr<arrow::RecordBatch> rows;
    arrow::Status read = reader->ReadNext(&rows);
    if (read.ok() && rows == nullptr) read = arrow::Status::Invalid("it ends before the last segment's rows");
    if (read.ok()) read = rows->ValidateFull();
    if (!read.ok()) return InvalidInput("its stream is broken: {}", read.message());
    // Copied only if the writer was less careful than ours.
    ASSIGN_OR_RETURN(described.answer.rows.segments[i].rows,
                     arrow::util::EnsureAlignment(std::move(rows), kAlignment, arrow::default_memory_pool()));
  }
  return std::move(described.answer);
}

}  // namespace millrace::peers
