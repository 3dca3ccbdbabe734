#include "model/dead_letters.h"

#include <arrow/builder.h>
#include <arrow/table_builder.h>

#include "base/status.h"

namespace millrace::model {
namespace {

std::size_t SizeOf(const std::string& text) { return text.size(); }
[[maybe_unused]] std::size_t SizeOf(const std::optional<std::string>& text) { return text ? text->size() : 0; }

/// Errors quote the value that they are about, whatever its size. Cut between two code points.
std::string Shortened(std::string text) {
  if (text.size() <= kDetailBytesMax) return text;
  std::size_t size = kDetailBytesMax;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;
  text.resize(size);
  text.shrink_to_fit();
  return text + "…";
}

}  // namespace

DeadLetter MakeDeadLetter(const TopicPartition& source, const RawRecord& record, std::string stage, std::string reason,
                          std::string detail) {
  DeadLetter letter{.source = source,
                    .offset = record.offset,
                    .index = record.index,
                    .timestamp = record.timestamp,
                    .key = std::nullopt,
                    .payload = std::string(record.payload.value_or("")),
                    .headers = {},
                    .stage = std::move(stage),
                    .reason = std::move(reason),
                    .detail = Shortened(std::move(detail))};
  if (record.key) letter.key = std::string(*record.key);
  for (const auto& [name, value] : record.Headers()) letter.headers.emplace_back(name, value);
  return letter;
}

std::int64_t BytesOf(const DeadLetter& letter) {
  std::size_t bytes = sizeof(letter) + letter.source.topic.size() + letter.payload.size() + letter.stage.size() +
                      letter.reason.size() + letter.detail.size();
  if (letter.key) bytes += letter.key->size();
  for (const auto& header : letter.headers) bytes += sizeof(header) + SizeOf(header.first) + SizeOf(header.second);
  return static_cast<std::int64_t>(bytes);
}

std::shared_ptr<arrow::Schema> DeadLetterSchema() {
  static const auto schema = arrow::schema({
      arrow::field("topic", arrow::utf8(), false),
      arrow::field("partition", arrow::int32(), false),
      arrow::field("offset", arrow::int64(), false),
      arrow::field("timestamp", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), false),
      arrow::field("key", arrow::binary()),
      arrow::field("payload", arrow::binary(), false),
      arrow::field("headers",
                   arrow::list(arrow::field("element", arrow::struct_({arrow::field("key", arrow::utf8()),
                                                                       arrow::field("value", arrow::binary())})))),
      arrow::field("stage", arrow::utf8(), false),
      arrow::field("reason", arrow::utf8(), false),
      arrow::field("detail", arrow::utf8(), false),
      arrow::field("index", arrow::int32()),
  });
  return schema;
}

namespace {

Status AppendLetters(std::span<const DeadLetter> letters, arrow::RecordBatchBuilder& builder) {
  auto* headers = builder.GetFieldAs<arrow::ListBuilder>(6);
  auto* header = static_cast<arrow::StructBuilder*>(headers->value_builder());
  auto* header_key = static_cast<arrow::StringBuilder*>(header->field_builder(0));
  auto* header_value = static_cast<arrow::BinaryBuilder*>(header->field_builder(1));
  for (const auto& letter : letters) {
    RETURN_NOT_OK(builder.GetFieldAs<arrow::StringBuilder>(0)->Append(letter.source.topic));
    RETURN_NOT_OK(builder.GetFieldAs<arrow::Int32Builder>(1)->Append(letter.source.partition));
    RETURN_NOT_OK(builder.GetFieldAs<arrow::Int64Builder>(2)->Append(letter.offset));
    RETURN_NOT_OK(builder.GetFieldAs<arrow::TimestampBuilder>(3)->Append(letter.timestamp));
    auto* key = builder.GetFieldAs<arrow::BinaryBuilder>(4);
    RETURN_NOT_OK(letter.key ? key->Append(*letter.key) : key->AppendNull());
    RETURN_NOT_OK(builder.GetFieldAs<arrow::BinaryBuilder>(5)->Append(letter.payload));
    RETURN_NOT_OK(headers->Append());
    for (const auto& [name, value] : letter.headers) {
      RETURN_NOT_OK(header->Append());
      RETURN_NOT_OK(header_key->Append(name));
      RETURN_NOT_OK(value ? header_value->Append(*value) : header_value->AppendNull());
    }
    RETURN_NOT_OK(builder.GetFieldAs<arrow::StringBuilder>(7)->Append(letter.stage));
    RETURN_NOT_OK(builder.GetFieldAs<arrow::StringBuilder>(8)->Append(letter.reason));
    RETURN_NOT_OK(builder.GetFieldAs<arrow::StringBuilder>(9)->Append(letter.detail));
    auto* index = builder.GetFieldAs<arrow::Int32Builder>(10);
    RETURN_NOT_OK(letter.index == kWholeRecord ? index->AppendNull() : index->Append(letter.index));
  }
  return Status::OK();
}

}  // namespace

std::shared_ptr<arrow::RecordBatch> ToRecordBatch(std::span<const DeadLetter> letters) {
  // Only running out of memory can fail here.
  auto builder = arrow::RecordBatchBuilder::Make(DeadLetterSchema(), arrow::default_memory_pool()).ValueOrDie();
  const Status appended = AppendLetters(letters, *builder);
  MILLRACE_CHECK(appended.ok(), "{}", appended.ToString());
  return builder->Flush().ValueOrDie();
}

}  // namespace millrace::model
