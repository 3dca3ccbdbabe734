#include "objectstore/s3/xml.h"

#include <charconv>
#include <cstdint>
#include <utility>

#include "base/utf8.h"

namespace millrace::objectstore::s3 {
namespace {

constexpr int kDepthMax = 32;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<XmlElement> Document() {
    RETURN_NOT_OK(SkipMisc());
    XmlElement root;
    RETURN_NOT_OK(Element(root, 0));
    RETURN_NOT_OK(SkipMisc());
    if (at_ != text_.size()) return Broken("text after the root element");
    return root;
  }

 private:
  Status Broken(std::string_view what) const { return Corrupt("not XML: {} at byte {}", what, at_); }
  bool Starts(std::string_view prefix) const { return text_.substr(at_).starts_with(prefix); }

  Status SkipPast(std::string_view end) {
    const auto found = text_.find(end, at_);
    if (found == std::string_view::npos) return Broken("it ends too early");
    at_ = found + end.size();
    return Status::OK();
  }

  void SkipSpace() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }

  // White space, declarations and comments around the root element.
  Status SkipMisc() {
    if (Starts("\xEF\xBB\xBF")) at_ += 3;
    while (true) {
      SkipSpace();
      if (Starts("<?")) {
        RETURN_NOT_OK(SkipPast("?>"));
      } else if (Starts("<!--")) {
        RETURN_NOT_OK(SkipPast("-->"));
      } else {
        return Status::OK();
      }
    }
  }

  std::string Name() {
    const auto begin = at_;
    while (at_ < text_.size() && std::string_view(" \t\r\n/><=").find(text_[at_]) == std::string_view::npos) ++at_;
    const std::string_view name = text_.substr(begin, at_ - begin);
    const auto colon = name.find(':');
    return std::string(colon == std::string_view::npos ? name : name.substr(colon + 1));
  }

  // From '<' to the end of its closing tag.
  Status Element(XmlElement& element, int depth) {
    if (depth > kDepthMax) return Broken("it is nested too deep");
    if (!Starts("<")) return Broken("no element");
    ++at_;
    element.name = Name();
    if (element.name.empty()) return Broken("an element without a name");
    while (true) {
      SkipSpace();
      if (Starts("/>")) {
        at_ += 2;
        return Status::OK();
      }
      if (Starts(">")) {
        ++at_;
        return Content(element, depth);
      }
      RETURN_NOT_OK(Attribute());
    }
  }

  Status Attribute() {
    if (Name().empty()) return Broken("an attribute without a name");
    SkipSpace();
    if (!Starts("=")) return Broken("an attribute without a value");
    ++at_;
    SkipSpace();
    if (!Starts("\"") && !Starts("'")) return Broken("an attribute without quotes");
    const std::string quote(1, text_[at_++]);
    return SkipPast(quote);
  }

  Status Content(XmlElement& element, int depth) {
    while (at_ < text_.size()) {
      if (Starts("</")) {
        at_ += 2;
        if (Name() != element.name) return Broken("another element is closed than was opened");
        SkipSpace();
        if (!Starts(">")) return Broken("a closing tag without its end");
        ++at_;
        return Status::OK();
      }
      if (Starts("<!--")) {
        RETURN_NOT_OK(SkipPast("-->"));
      } else if (Starts("<![CDATA[")) {
        at_ += 9;
        const auto begin = at_;
        RETURN_NOT_OK(SkipPast("]]>"));
        element.text += text_.substr(begin, at_ - 3 - begin);
      } else if (Starts("<")) {
        element.children.emplace_back();
        RETURN_NOT_OK(Element(element.children.back(), depth + 1));
      } else if (Starts("&")) {
        RETURN_NOT_OK(Entity(element.text));
      } else {
        const auto end = std::min(text_.find_first_of("<&", at_), text_.size());
        element.text += text_.substr(at_, end - at_);
        at_ = end;
      }
    }
    return Broken("it ends too early");
  }

  Status Entity(std::string& out) {
    const auto end = text_.find(';', at_);
    if (end == std::string_view::npos) return Broken("an entity without its end");
    std::string_view name = text_.substr(at_ + 1, end - at_ - 1);
    constexpr std::pair<std::string_view, char> kNamed[] = {
        {"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
    for (const auto& [known, character] : kNamed) {
      if (name != known) continue;
      out += character;
      at_ = end + 1;
      return Status::OK();
    }
    if (!name.starts_with('#')) return Broken("an unknown entity");
    name.remove_prefix(1);
    int base = 10;
    if (name.starts_with('x')) {
      name.remove_prefix(1);
      base = 16;
    }
    std::uint32_t code = 0;
    const auto [rest, error] = std::from_chars(name.data(), name.data() + name.size(), code, base);
    if (name.empty() || error != std::errc() || rest != name.data() + name.size() || code > 0x10FFFF) {
      return Broken("a wrong character reference");
    }
    AppendUtf8(code, &out);
    at_ = end + 1;
    return Status::OK();
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

const XmlElement* XmlElement::Find(std::string_view child) const {
  for (const auto& element : children) {
    if (element.name == child) return &element;
  }
  return nullptr;
}

std::string XmlElement::TextOf(std::string_view child) const {
  const XmlElement* const found = Find(child);
  return found == nullptr ? "" : found->text;
}

Result<XmlElement> ParseXml(std::string_view text) { return Parser(text).Document(); }

}  // namespace millrace::objectstore::s3
