#include "serve/content_coding.h"

#include <arrow/util/compression.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <string>
#include <utility>

#include "base/ascii_case.h"

namespace millrace::serve {
namespace {

// Below it a packet or two are all there is to save.
constexpr std::size_t kEncodedBytesMin = 2 << 10;
constexpr std::size_t kEncodedPieceBytes = 256 << 10;
// Both about as fast as the text is made; a level more costs more than the network saves.
constexpr int kGzipLevel = 1;
constexpr int kZstdLevel = 1;

// Parquet is compressed in itself.
bool Shrinks(std::string_view content_type) {
  return content_type.starts_with("text/") || content_type.starts_with("application/json") ||
         content_type.starts_with("application/x-ndjson") || content_type == "application/vnd.apache.arrow.stream";
}

// Hands `compress`, which fills a buffer, one buffer after the other and appends what it gives.
template <typename Compress>
Result<bool> Fill(std::string& piece, http::Body& body, const Compress& compress) {
  const std::size_t begin = piece.size();
  piece.resize(kEncodedPieceBytes);
  ASSIGN_OR_RETURN(const auto done, compress(static_cast<std::int64_t>(piece.size() - begin),
                                             reinterpret_cast<std::uint8_t*>(piece.data()) + begin));
  piece.resize(begin + static_cast<std::size_t>(done.bytes_written));
  if (done.should_retry || piece.size() == kEncodedPieceBytes) body.Append(std::exchange(piece, {}));
  return done.should_retry;
}

struct Step {
  std::int64_t bytes_written = 0;
  bool should_retry = false;  // There is more than fits.
};

}  // namespace

Coding ChooseCoding(std::string_view accept_encoding) {
  double gzip = -1;
  double zstd = -1;
  double others = -1;
  while (!accept_encoding.empty()) {
    const std::string_view item = accept_encoding.substr(0, accept_encoding.find(','));
    accept_encoding.remove_prefix(std::min(item.size() + 1, accept_encoding.size()));
    std::string name = AsciiLower(item.substr(0, item.find(';')));
    name.erase(0, std::min(name.find_first_not_of(" \t"), name.size()));
    name.erase(name.find_last_not_of(" \t") + 1);
    double weight = 1;
    if (const auto q = item.find("q="); q != std::string_view::npos) {
      std::from_chars(item.data() + q + 2, item.data() + item.size(), weight);
    }
    if (name == "gzip" || name == "x-gzip") gzip = weight;
    if (name == "zstd") zstd = weight;
    if (name == "*") others = weight;
  }
  if (gzip < 0) gzip = others;
  if (zstd < 0) zstd = others;
  if (zstd > 0 && zstd >= gzip) return Coding::kZstd;
  return gzip > 0 ? Coding::kGzip : Coding::kNone;
}

Status Encode(Coding coding, const std::stop_token& stop, http::Response& response) {
  if (response.body.has_source() || response.body.bytes() < kEncodedBytesMin || !Shrinks(response.content_type)) {
    return Status::OK();
  }
  const auto is_coded = [](const auto& header) { return header.first == "Content-Encoding"; };
  if (std::any_of(response.headers.begin(), response.headers.end(), is_coded)) return Status::OK();
  const auto varies = std::find_if(response.headers.begin(), response.headers.end(),
                                   [](const auto& header) { return header.first == "Vary"; });
  if (varies == response.headers.end()) {
    response.headers.emplace_back("Vary", "Accept-Encoding");
  } else if (varies->second.find("Accept-Encoding") == std::string::npos) {
    varies->second += ", Accept-Encoding";
  }
  if (coding == Coding::kNone) return Status::OK();
  const bool is_zstd = coding == Coding::kZstd;
  ASSIGN_OR_RETURN(const auto codec,
                   arrow::util::Codec::Create(is_zstd ? arrow::Compression::ZSTD : arrow::Compression::GZIP,
                                              is_zstd ? kZstdLevel : kGzipLevel));
  ASSIGN_OR_RETURN(const auto compressor, codec->MakeCompressor());
  http::Body encoded;
  std::string out;
  auto pieces = std::move(response.body).TakePieces();
  for (auto& piece : pieces) {
    if (stop.stop_requested()) return Cancelled("the answer is not waited for any more");
    const auto* input = reinterpret_cast<const std::uint8_t*>(piece->data());
    auto left = static_cast<std::int64_t>(piece->size());
    while (left > 0) {
      RETURN_NOT_OK(Fill(out, encoded, [&](std::int64_t size, std::uint8_t* output) -> Result<Step> {
                      ASSIGN_OR_RETURN(const auto done, compressor->Compress(left, input, size, output));
                      input += done.bytes_read;
                      left -= done.bytes_read;
                      return Step{done.bytes_written, done.bytes_read == 0};
                    }).status());
    }
    piece.reset();  // What is compressed need not be kept.
  }
  for (bool more = true; more;) {
    ASSIGN_OR_RETURN(more, Fill(out, encoded, [&](std::int64_t size, std::uint8_t* output) -> Result<Step> {
                       ASSIGN_OR_RETURN(const auto done, compressor->End(size, output));
                       return Step{done.bytes_written, done.should_retry};
                     }));
  }
  encoded.Append(std::move(out));
  response.body = std::move(encoded);
  const std::string name = is_zstd ? "zstd" : "gzip";
  for (auto& [header, value] : response.headers) {
    if (header == "ETag" && value.starts_with('"')) value.insert(value.size() - 1, "-" + name);
  }
  response.headers.emplace_back("Content-Encoding", name);
  return Status::OK();
}

}  // namespace millrace::serve
