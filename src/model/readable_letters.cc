#include "model/readable_letters.h"

#include <arrow/builder.h>
#include <arrow/table_builder.h>
#include <arrow/util/utf8.h>

#include <string>

#include "base/status.h"

namespace millrace::model {
namespace {

std::string Readable(const std::string& bytes) {
  if (arrow::util::ValidateUTF8(bytes)) return bytes;
  std::string digits;
  for (const char c : bytes) fmt::format_to(std::back_inserter(digits), "{:02x}", static_cast<unsigned char>(c));
  return digits;
}

Status AppendReadable(std::span<const DeadLetter> letters, arrow::RecordBatchBuilder& builder) {
  const auto text = [&builder](int column) { return builder.GetFieldAs<arrow::StringBuilder>(column); };
  auto* headers = builder.GetFieldAs<arrow::MapBuilder>(6);
  auto* names = static_cast<arrow::StringBuilder*>(headers->key_builder());
  auto* values = static_cast<arrow::StringBuilder*>(headers->item_builder());
  for (const auto& letter : letters) {
    RETURN_NOT_OK(text(0)->Append(letter.source.topic));
    RETURN_NOT_OK(builder.GetFieldAs<arrow::Int32Builder>(1)->Append(letter.source.partition));
    RETURN_NOT_OK(builder.GetFieldAs<arrow::Int64Builder>(2)->Append(letter.offset));
    RETURN_NOT_OK(builder.GetFieldAs<arrow::TimestampBuilder>(3)->Append(letter.timestamp));
    RETURN_NOT_OK(letter.key ? text(4)->Append(Readable(*letter.key)) : text(4)->AppendNull());
    RETURN_NOT_OK(text(5)->Append(Readable(letter.payload)));
    RETURN_NOT_OK(headers->Append());
    for (const auto& [name, value] : letter.headers) {
      RETURN_NOT_OK(names->Append(Readable(name)));
      RETURN_NOT_OK(value ? values->Append(Readable(*value)) : values->AppendNull());
    }
    RETURN_NOT_OK(text(7)->Append(letter.stage));
    RETURN_NOT_OK(text(8)->Append(letter.reason));
    RETURN_NOT_OK(text(9)->Append(letter.detail));
    auto* index = builder.GetFieldAs<arrow::Int32Builder>(10);
    RETURN_NOT_OK(letter.index == kWholeRecord ? index->AppendNull() : index->Append(letter.index));
  }
  return Status::OK();
}

}  // namespace

std::shared_ptr<arrow::Schema> ReadableLetterSchema() {
  const auto text = arrow::utf8();
  static const auto schema = arrow::schema({
      arrow::field("topic", text, false),
      arrow::field("partition", arrow::int32(), false),
      arrow::field("offset", arrow::int64(), false),
      arrow::field("timestamp", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), false),
      arrow::field("key", text),
      arrow::field("payload", text, false),
      arrow::field("headers", arrow::map(text, text), false),
      arrow::field("stage", text, false),
      arrow::field("reason", text, false),
      arrow::field("detail", text, false),
      arrow::field("index", arrow::int32()),
  });
  return schema;
}

std::shared_ptr<arrow::RecordBatch> ToReadableBatch(std::span<const DeadLetter> letters) {
  arrow::util::InitializeUTF8();  // Once; ValidateUTF8() takes everything before.
  // Only running out of memory can fail here.
  auto builder = arrow::RecordBatchBuilder::Make(ReadableLetterSchema(), arrow::default_memory_pool()).ValueOrDie();
  const Status appended = AppendReadable(letters, *builder);
  MILLRACE_CHECK(appended.ok(), "{}", appended.ToString());
  return builder->Flush().ValueOrDie();
}

}  // namespace millrace::model
