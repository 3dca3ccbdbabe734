// Any bytes are refused, or become a tree that says the same when it is written out and read again.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "objectstore/s3/xml.h"

namespace {

using millrace::objectstore::s3::ParseXml;
using millrace::objectstore::s3::XmlElement;

// Every byte of the text as it is but for the two that end it.
void Write(const XmlElement& element, std::string& out) {
  out += "<" + element.name + ">";
  for (const char c : element.text) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  for (const auto& child : element.children) Write(child, out);
  out += "</" + element.name + ">";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto first = ParseXml(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!first.ok()) return 0;
  std::string written;
  Write(*first, written);
  const auto second = ParseXml(written);
  if (!second.ok()) std::abort();
  std::string again;
  Write(*second, again);
  if (again != written) std::abort();
  return 0;
}
