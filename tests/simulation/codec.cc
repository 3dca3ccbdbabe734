// Zstd with one context for all, instead of Arrow's with one for each page: a seed writes and reads thousands of pages
// of a few bytes each, and to make the contexts took a quarter of its time. An executable's own functions come before
// those of every shared library, as in libc.cc.
#include <arrow/util/compression.h>
#include <zstd.h>

namespace arrow::util {
namespace {

// Whoever runs is alone.
ZSTD_CCtx* Compressing() {
  static ZSTD_CCtx* const context = ZSTD_createCCtx();
  return context;
}
ZSTD_DCtx* Decompressing() {
  static ZSTD_DCtx* const context = ZSTD_createDCtx();
  return context;
}

Result<int64_t> Checked(std::size_t size) {
  if (ZSTD_isError(size) != 0) return Status::IOError("zstd: ", ZSTD_getErrorName(size));
  return static_cast<int64_t>(size);
}

class OneContext final : public Codec {
 public:
  int minimum_compression_level() const override { return 1; }
  int maximum_compression_level() const override { return 1; }
  int default_compression_level() const override { return 1; }
  int compression_level() const override { return 1; }
  Compression::type compression_type() const override { return Compression::ZSTD; }

  Result<int64_t> Decompress(int64_t input_len, const uint8_t* input, int64_t output_buffer_len,
                             uint8_t* output_buffer) override {
    return Checked(ZSTD_decompressDCtx(Decompressing(), output_buffer, static_cast<std::size_t>(output_buffer_len),
                                       input, static_cast<std::size_t>(input_len)));
  }
  Result<int64_t> Compress(int64_t input_len, const uint8_t* input, int64_t output_buffer_len,
                           uint8_t* output_buffer) override {
    return Checked(ZSTD_compressCCtx(Compressing(), output_buffer, static_cast<std::size_t>(output_buffer_len), input,
                                     static_cast<std::size_t>(input_len), 1));
  }
  int64_t MaxCompressedLen(int64_t input_len, const uint8_t* /*input*/) override {
    return static_cast<int64_t>(ZSTD_compressBound(static_cast<std::size_t>(input_len)));
  }
  Result<std::shared_ptr<Compressor>> MakeCompressor() override { return Status::NotImplemented("streams"); }
  Result<std::shared_ptr<Decompressor>> MakeDecompressor() override { return Status::NotImplemented("streams"); }
};

}  // namespace

Result<std::unique_ptr<Codec>> Codec::Create(Compression::type type, const CodecOptions& /*options*/) {
  if (type == Compression::UNCOMPRESSED) return nullptr;
  if (type != Compression::ZSTD) return Status::NotImplemented("the simulation knows zstd alone");
  return std::make_unique<OneContext>();
}

Result<std::unique_ptr<Codec>> Codec::Create(Compression::type type, int level) {
  return Create(type, CodecOptions{level});
}

}  // namespace arrow::util
