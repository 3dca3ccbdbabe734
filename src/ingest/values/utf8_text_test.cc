#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "ingest/values/utf8_text_internal.h"

namespace millrace::ingest {
namespace {

// Each length, in blocks of just the size that each way may touch: a sanitizer sees each step beyond.
TEST(Utf8Text, CopiesEachLengthAndNothingBeyondTheEnds) {
  for (std::size_t size = 0; size <= 70; ++size) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += static_cast<char>('a' + i % 26);
    // What lies behind is no part of it.
    const std::string block = text + std::string(kTextStep, '\xFF');
    for (const bool in_steps : {false, true}) {
      const std::size_t touched = size + (in_steps ? kTextStep : 0);
      const auto from = std::make_unique<char[]>(touched);
      const auto to = std::make_unique<char[]>(touched);
      std::memcpy(from.get(), block.data(), touched);
      EXPECT_TRUE(in_steps ? CopyAsciiSteps(from.get(), size, to.get()) : CopyUtf8({from.get(), size}, to.get()))
          << size;
      EXPECT_EQ(std::string(to.get(), size), text);
    }
  }
}

TEST(Utf8Text, SeesABadByteAtEachPlace) {
  for (std::size_t size = 1; size <= 40; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      std::string text(size + kTextStep, 'x');
      std::string to(size + kTextStep, ' ');
      text[at] = '\x80';
      EXPECT_FALSE(CopyAsciiSteps(text.data(), size, to.data())) << size << ", " << at;
      EXPECT_FALSE(CopyUtf8({text.data(), size}, to.data())) << size << ", " << at;
      if (at + 1 == size) continue;
      text[at] = '\xC3';
      text[at + 1] = '\xA9';
      EXPECT_FALSE(CopyAsciiSteps(text.data(), size, to.data())) << size << ", " << at;
      EXPECT_TRUE(CopyUtf8({text.data(), size}, to.data()));
      EXPECT_EQ(to.substr(0, size), text.substr(0, size));
    }
  }
}

}  // namespace
}  // namespace millrace::ingest
