#include <utility>

#include "devices/random.h"
#include "devices/sink.h"

namespace millrace::devices {
namespace {

constexpr std::size_t kGatheredBytes = 256 << 10;
constexpr std::int64_t kEventsOfBlock = 1000;

class StreamSink final : public Sink {
 public:
  StreamSink(std::ostream& out, const Shape& shape, PayloadFormat format, OnOutcome on_outcome)
      : out_(out), format_(format), on_outcome_(std::move(on_outcome)) {
    if (format == PayloadFormat::kCsv) gathered_ = CsvHeader(shape) + '\n';
    if (format == PayloadFormat::kAvro) {
      const std::string schema = AvroSchema(shape);
      for (std::uint64_t i = 0; i < 2; ++i) {
        for (std::uint64_t bits = Mix(schema.size(), i), n = 0; n < 8; ++n, bits >>= 8)
          sync_ += static_cast<char>(bits);
      }
      gathered_ = std::string("Obj\x01", 4);
      AppendZigzag(2, gathered_);
      for (const std::string_view text : {std::string_view("avro.schema"), std::string_view(schema),
                                          std::string_view("avro.codec"), std::string_view("null")}) {
        AppendZigzag(static_cast<std::int64_t>(text.size()), gathered_);
        gathered_ += text;
      }
      AppendZigzag(0, gathered_);
      gathered_ += sync_;
    }
  }

  ~StreamSink() override { Tell(Outcome::kUnknown); }

  Status Send(const SinkEvent& event, const std::stop_token&) override {
    if (end_ == first_) first_ = event.number;
    end_ = event.number + 1;
    switch (format_) {
      case PayloadFormat::kJson:
      case PayloadFormat::kCsv:
        gathered_ += event.payload;
        gathered_ += '\n';
        break;
      case PayloadFormat::kProtobuf:
        AppendVarint(event.payload.size(), gathered_);
        gathered_ += event.payload;
        break;
      case PayloadFormat::kAvro:
        block_ += event.payload;
        if (++in_block_ == kEventsOfBlock) CloseBlock();
    }
    return gathered_.size() < kGatheredBytes ? Status::OK() : Write();
  }

  Status Push() override { return in_block_ > 0 ? Status::OK() : Write(); }

  Status Finish(std::chrono::milliseconds) override {
    CloseBlock();
    return Write();
  }

 private:
  void CloseBlock() {
    if (in_block_ == 0) return;
    AppendZigzag(in_block_, gathered_);
    AppendZigzag(static_cast<std::int64_t>(block_.size()), gathered_);
    gathered_ += block_;
    gathered_ += sync_;
    block_.clear();
    in_block_ = 0;
  }

  // With a block closed, or none begun.
  Status Write() {
    if (gathered_.empty()) return Status::OK();
    out_.write(gathered_.data(), static_cast<std::streamsize>(gathered_.size()));
    out_.flush();
    gathered_.clear();
    if (!out_.good()) return Transient("writing events: the output is closed or full");
    Tell(Outcome::kAcknowledged);
    return Status::OK();
  }

  void Tell(Outcome outcome) {
    if (end_ > first_) on_outcome_(first_, end_, outcome, {});
    first_ = end_;
  }

  std::ostream& out_;
  const PayloadFormat format_;
  const OnOutcome on_outcome_;
  std::string sync_;  // Of Avro, as are the next two.
  std::string block_;
  std::int64_t in_block_ = 0;
  std::string gathered_;  // For out_.
  // Events that are not told of.
  std::int64_t first_ = 0;
  std::int64_t end_ = 0;
};

}  // namespace

std::unique_ptr<Sink> MakeStreamSink(std::ostream& out, const Shape& shape, PayloadFormat format,
                                     OnOutcome on_outcome) {
  return std::make_unique<StreamSink>(out, shape, format, std::move(on_outcome));
}

}  // namespace millrace::devices
