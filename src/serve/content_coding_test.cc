// What a client makes of a compressed body is the body; and which coding it is given.
#include "serve/content_coding.h"

#include <arrow/util/compression.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "testing/status_matchers.h"

namespace millrace::serve {
namespace {

std::string HeaderOf(const http::Response& response, const std::string& name) {
  std::string values;
  for (const auto& [key, value] : response.headers) {
    if (key == name) values += (values.empty() ? "" : "|") + value;
  }
  return values;
}

http::Response ResponseOf(const std::vector<std::string>& pieces,
                          const std::string& content_type = "application/json") {
  http::Response response;
  response.content_type = content_type;
  for (const auto& piece : pieces) response.body.Append(piece);
  return response;
}

std::string Decoded(const std::string& bytes, arrow::Compression::type type, std::size_t size_max) {
  const auto codec = arrow::util::Codec::Create(type).ValueOrDie();
  const auto decompressor = codec->MakeDecompressor().ValueOrDie();
  std::string out(size_max, '\0');
  std::size_t in = 0;
  std::size_t written = 0;
  while (in < bytes.size() && !decompressor->IsFinished()) {
    const auto done = decompressor
                          ->Decompress(static_cast<std::int64_t>(bytes.size() - in),
                                       reinterpret_cast<const std::uint8_t*>(bytes.data()) + in,
                                       static_cast<std::int64_t>(out.size() - written),
                                       reinterpret_cast<std::uint8_t*>(out.data()) + written)
                          .ValueOrDie();
    in += static_cast<std::size_t>(done.bytes_read);
    written += static_cast<std::size_t>(done.bytes_written);
    if (done.bytes_read == 0 && done.bytes_written == 0) break;
  }
  EXPECT_TRUE(decompressor->IsFinished());
  out.resize(written);
  return out;
}

TEST(ContentCoding, TheHeaderChooses) {
  struct Case {
    const char* header;
    Coding want;
  };
  const Case cases[] = {
      {"", Coding::kNone},
      {"identity", Coding::kNone},
      {"gzip", Coding::kGzip},
      {"GZIP", Coding::kGzip},
      {"x-gzip", Coding::kGzip},
      {"zstd", Coding::kZstd},
      {"gzip, deflate, br, zstd", Coding::kZstd},
      {"gzip;q=1.0, zstd;q=0.5", Coding::kGzip},
      {"gzip;q=0.5 , zstd; q=0.5", Coding::kZstd},
      {"gzip;q=0", Coding::kNone},
      {"zstd;q=0, *", Coding::kGzip},
      {"*", Coding::kZstd},
      {"*;q=0", Coding::kNone},
      {"br, deflate", Coding::kNone},
      {",,;q=", Coding::kNone},
  };
  for (const auto& c : cases) EXPECT_EQ(ChooseCoding(c.header), c.want) << c.header;
}

TEST(ContentCoding, WhatComesOutIsWhatWentIn) {
  std::mt19937 random(7);
  std::string noise(700'000, '\0');  // It does not shrink, so pieces fill up.
  for (char& c : noise) c = static_cast<char>(random());
  const std::vector<std::vector<std::string>> bodies = {{std::string(5000, 'x')},
                                                        {std::string(3'000'000, 'x')},
                                                        {noise},
                                                        {noise, std::string(300'000, 'y'), noise, "end"}};
  for (const auto& pieces : bodies) {
    std::string whole;
    for (const auto& piece : pieces) whole += piece;
    for (const auto& [coding, type, name] : {std::tuple{Coding::kGzip, arrow::Compression::GZIP, "gzip"},
                                             {Coding::kZstd, arrow::Compression::ZSTD, "zstd"}}) {
      SCOPED_TRACE(fmt::format("{} of {} bytes", name, whole.size()));
      auto response = ResponseOf(pieces);
      response.headers.emplace_back("Vary", "Accept");
      response.headers.emplace_back("ETag", coding == Coding::kGzip ? "\"a\"" : "W/\"a\"");
      MILLRACE_ASSERT_OK(Encode(coding, {}, response));
      EXPECT_EQ(HeaderOf(response, "Content-Encoding"), name);
      EXPECT_EQ(HeaderOf(response, "Vary"), "Accept, Accept-Encoding");
      EXPECT_EQ(HeaderOf(response, "ETag"), coding == Coding::kGzip ? "\"a-gzip\"" : "W/\"a\"");
      EXPECT_TRUE(Decoded(response.body.Text(), type, whole.size() + 1) == whole);
    }
  }
}

TEST(ContentCoding, OnlyWhatCanShrinkIsTouched) {
  const std::string large(5000, 'x');
  for (auto response : {std::pair{std::string("application/vnd.apache.parquet"), large},
                        {std::string("image/png"), large},
                        {std::string("application/json"), std::string("{}")}}) {
    auto sent = ResponseOf({response.second}, response.first);
    MILLRACE_ASSERT_OK(Encode(Coding::kGzip, {}, sent));
    EXPECT_EQ(sent.body.Text(), response.second);
    EXPECT_TRUE(sent.headers.empty());
  }
  auto plain = ResponseOf({large});
  MILLRACE_ASSERT_OK(Encode(Coding::kNone, {}, plain));
  EXPECT_EQ(plain.body.Text(), large);
  EXPECT_EQ(HeaderOf(plain, "Vary"), "Accept-Encoding") << "a cache must know, whoever asked first";
  std::stop_source stop;
  stop.request_stop();
  MILLRACE_ASSERT_KIND(ErrorKind::kCancelled, Encode(Coding::kGzip, stop.get_token(), plain));
}

}  // namespace
}  // namespace millrace::serve
