#include "serve/columnar_writer.h"

#include <arrow/io/interfaces.h>
#include <arrow/ipc/writer.h>
#include <arrow/table.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/writer.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace millrace::serve {
namespace {

constexpr std::size_t kStreamPieceBytes = 256 << 10;
constexpr std::int64_t kRowGroupRows = 1 << 20;

/// Writes to the pieces of a body, within limits.
class BodyStream final : public arrow::io::OutputStream {
 public:
  explicit BodyStream(AnswerLimits limits) : limits_(std::move(limits)) {}

  Status Write(const void* data, std::int64_t num_bytes) override {
    if (limits_.stop.stop_requested()) return Cancelled("the answer is not waited for any more");
    written_ += num_bytes;
    if (written_ > limits_.bytes_max) {
      return TooLarge("the answer has more than {} bytes, which is the limit", limits_.bytes_max);
    }
    piece_.append(static_cast<const char*>(data), static_cast<std::size_t>(num_bytes));
    if (piece_.size() >= kStreamPieceBytes) body_.Append(std::exchange(piece_, {}));
    return Status::OK();
  }
  Status Close() override {
    closed_ = true;
    return Status::OK();
  }
  bool closed() const override { return closed_; }
  Result<std::int64_t> Tell() const override { return written_; }

  http::Body Take() {
    body_.Append(std::exchange(piece_, {}));
    return std::move(body_);
  }

 private:
  const AnswerLimits limits_;
  http::Body body_;
  std::string piece_;
  std::int64_t written_ = 0;
  bool closed_ = false;
};

std::shared_ptr<arrow::Table> WithAsOf(const query::Answer& answer) {
  return answer.rows->ReplaceSchemaMetadata(
      arrow::key_value_metadata(std::vector<std::string>{"millrace.as_of"}, {AsOfToJson(answer)}));
}

Result<http::Body> Written(
    const query::Answer& answer, const AnswerLimits& limits, const char* format,
    const std::function<Status(const arrow::Table&, const std::shared_ptr<BodyStream>&)>& write) {
  const auto stream = std::make_shared<BodyStream>(limits);
  const Status status = write(*WithAsOf(answer), stream);
  if (status.IsNotImplemented()) {
    return Unsupported("{} cannot have a column of this answer: {}. Cast it to VARCHAR, or ask for JSON", format,
                       status.message());
  }
  RETURN_NOT_OK(status);
  return stream->Take();
}

}  // namespace

Result<http::Body> AnswerToArrow(const query::Answer& answer, const AnswerLimits& limits) {
  return Written(answer, limits, "Arrow", [](const arrow::Table& table, const auto& stream) -> Status {
    ASSIGN_OR_RETURN(const auto writer, arrow::ipc::MakeStreamWriter(stream, table.schema()));
    RETURN_NOT_OK(writer->WriteTable(table));
    return writer->Close();
  });
}

Result<http::Body> AnswerToParquet(const query::Answer& answer, const AnswerLimits& limits) {
  return Written(answer, limits, "Parquet", [](const arrow::Table& table, const auto& stream) -> Status {
    const auto properties = parquet::WriterProperties::Builder().compression(parquet::Compression::ZSTD)->build();
    const auto of_arrow = parquet::ArrowWriterProperties::Builder().store_schema()->build();
    return parquet::arrow::WriteTable(table, arrow::default_memory_pool(), stream, kRowGroupRows, properties, of_arrow);
  });
}

}  // namespace millrace::serve
