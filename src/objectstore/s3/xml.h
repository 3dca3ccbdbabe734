/// The little XML that S3 and STS answer with, as a tree. Attributes, comments and namespace prefixes are left out;
/// documents with a DTD are refused. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace millrace::objectstore::s3 {

struct XmlElement {
  std::string name;
  std::string text;  ///< Its own text, entities resolved.
  std::vector<XmlElement> children;

  /// The first child of that name, or nullptr.
  const XmlElement* Find(std::string_view child) const;
  /// The text of the first child of that name, or "".
  std::string TextOf(std::string_view child) const;
};

/// The root element. kCorrupt if it is not well-formed, or nested deeper than 32.
Result<XmlElement> ParseXml(std::string_view text);

}  // namespace millrace::objectstore::s3
