#include <zstd.h>

#include <memory>

#include "delta/data/page_compressor_internal.h"

namespace millrace::delta {
namespace {

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

Status Checked(std::size_t code) {
  if (ZSTD_isError(code) == 0) return Status::OK();
  return Internal("zstd: {}", ZSTD_getErrorName(code));
}

}  // namespace

PageCompressor::PageCompressor(const arrow::util::CodecOptions& options) : level_(options.compression_level) {
  if (const auto* zstd = dynamic_cast<const arrow::util::ZstdCodecOptions*>(&options)) {
    parameters_ = zstd->compression_context_params;
  }
}

Result<std::int64_t> PageCompressor::Compress(const std::uint8_t* body, std::int64_t size,
                                              arrow::BufferBuilder* out) const {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreeContext> context(ZSTD_createCCtx());
  if (!context) return Internal("zstd: no memory for a context");
  RETURN_NOT_OK(Checked(ZSTD_CCtx_reset(context.get(), ZSTD_reset_session_and_parameters)));
  RETURN_NOT_OK(Checked(ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, level_)));
  for (const auto& [parameter, value] : parameters_) {
    RETURN_NOT_OK(Checked(ZSTD_CCtx_setParameter(context.get(), static_cast<ZSTD_cParameter>(parameter), value)));
  }
  out->Rewind(0);
  RETURN_NOT_OK(out->Reserve(static_cast<std::int64_t>(ZSTD_compressBound(static_cast<std::size_t>(size)))));
  const std::size_t length =
      ZSTD_compress2(context.get(), out->mutable_data(), static_cast<std::size_t>(out->capacity()), body,
                     static_cast<std::size_t>(size));
  RETURN_NOT_OK(Checked(length));
  out->UnsafeAdvance(static_cast<std::int64_t>(length));
  return static_cast<std::int64_t>(length);
}

}  // namespace millrace::delta
