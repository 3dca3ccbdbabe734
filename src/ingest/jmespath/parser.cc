#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "base/nearest_name.h"
#include "ingest/jmespath/evaluation_internal.h"
#include "ingest/jmespath/json_value.h"
#include "ingest/jmespath/syntax_internal.h"

namespace millrace::ingest {
namespace {

namespace json = boost::json;
using Node = JmesPath::Node;
using NodePtr = std::shared_ptr<const Node>;
using Kind = Node::Kind;

struct Token {
  enum class Type { kEnd, kName, kQuotedName, kNumber, kLiteral, kSign };

  Type type = Type::kEnd;
  std::string text;    // Of a name, a number, a sign such as "||", "[?" and "[]".
  json::value value;   // Of a literal.
  std::size_t at = 0;  // Byte in the expression.

  bool Is(std::string_view sign) const { return type == Type::kSign && text == sign; }
};

Status ErrorAt(std::string_view expression, std::size_t at, const std::string& message) {
  return InvalidInput("at character {} of '{}': {}", at + 1, expression, message);
}

bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Result<std::vector<Token>> Tokens() {
    std::vector<Token> tokens;
    do {
      ASSIGN_OR_RETURN(auto token, Next());
      tokens.push_back(std::move(token));
    } while (tokens.back().type != Token::Type::kEnd);
    return tokens;
  }

 private:
  Result<Token> Next() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
    Token token{.at = at_};
    if (at_ == text_.size()) return token;
    const char c = text_[at_];
    if (IsNameStart(c)) {
      while (at_ < text_.size() && (IsNameStart(text_[at_]) || IsDigit(text_[at_]))) ++at_;
      token.type = Token::Type::kName;
      token.text = text_.substr(token.at, at_ - token.at);
      return token;
    }
    if (IsDigit(c) || (c == '-' && at_ + 1 < text_.size() && IsDigit(text_[at_ + 1]))) {
      ++at_;
      while (at_ < text_.size() && IsDigit(text_[at_])) ++at_;
      token.type = Token::Type::kNumber;
      token.text = text_.substr(token.at, at_ - token.at);
      return token;
    }
    if (c == '"' || c == '\'' || c == '`') return Quoted(c);
    static constexpr std::string_view kSigns[] = {"||", "&&", "==", "!=", "<=", ">=", "[?", "[]", "|", "&", "<", ">",
                                                  "!",  ".",  "*",  "@",  "[",  "]",  "{",  "}",  "(", ")", ",", ":"};
    for (const auto sign : kSigns) {
      if (!text_.substr(at_).starts_with(sign)) continue;
      at_ += sign.size();
      token.type = Token::Type::kSign;
      token.text = sign;
      return token;
    }
    return ErrorAt(text_, at_, fmt::format("'{}' has no meaning here", c));
  }

  Result<Token> Quoted(char quote) {
    Token token{.at = at_};
    std::string raw;  // Between the quotes, the quote's own escape undone.
    for (++at_;; ++at_) {
      if (at_ >= text_.size()) return ErrorAt(text_, token.at, fmt::format("{} is not closed", quote));
      if (text_[at_] == quote) break;
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
        ++at_;
        if (quote == '"' || text_[at_] != quote) raw += '\\';
      }
      raw += text_[at_];
    }
    ++at_;
    if (quote == '\'') {
      token.type = Token::Type::kLiteral;
      token.value = json::string(raw);
      return token;
    }
    auto value = ParseJsonValue(quote == '"' ? '"' + raw + '"' : raw);
    if (!value) return ErrorAt(text_, token.at, fmt::format("'{}' is not JSON", raw));
    if (quote == '"') {
      token.type = Token::Type::kQuotedName;
      token.text = value->as_string();
    } else {
      token.type = Token::Type::kLiteral;
      token.value = *std::move(value);
    }
    return token;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

NodePtr Make(Node node) { return std::make_shared<const Node>(std::move(node)); }
NodePtr Current() { return Make({}); }

// Top-down operator precedence, with the binding powers of the specification's reference implementations.
class Parser {
 public:
  Parser(std::string_view text, std::vector<Token> tokens) : text_(text), tokens_(std::move(tokens)) {}

  Result<NodePtr> Whole() {
    ASSIGN_OR_RETURN(auto root, Expression(0));
    if (token().type != Token::Type::kEnd) return Unexpected();
    return root;
  }

 private:
  static constexpr int kPipe = 1;
  static constexpr int kOr = 2;
  static constexpr int kAnd = 3;
  static constexpr int kCompare = 5;
  static constexpr int kFlatten = 9;
  static constexpr int kProjectionStop = 10;
  static constexpr int kStar = 20;
  static constexpr int kFilter = 21;
  static constexpr int kDot = 40;
  static constexpr int kNot = 45;
  static constexpr int kBracket = 55;

  const Token& token() const { return tokens_[next_]; }
  const Token& after() const { return tokens_[std::min(next_ + 1, tokens_.size() - 1)]; }
  Token Take() { return tokens_[next_++]; }

  Status Unexpected() const {
    const Token& here = token();
    if (here.type == Token::Type::kEnd) return ErrorAt(text_, here.at, "the expression is not complete");
    return ErrorAt(text_, here.at, "this does not belong here");
  }
  Status Expect(std::string_view sign) {
    if (!token().Is(sign)) {
      if (token().type == Token::Type::kEnd) return ErrorAt(text_, token().at, fmt::format("{} is missing", sign));
      return ErrorAt(text_, token().at, fmt::format("{} is expected here", sign));
    }
    ++next_;
    return Status::OK();
  }

  static int Power(const Token& token) {
    if (token.type != Token::Type::kSign) return 0;
    static constexpr std::pair<std::string_view, int> kPowers[] = {
        {"|", kPipe},    {"||", kOr},      {"&&", kAnd},    {"==", kCompare}, {"!=", kCompare},
        {"<", kCompare}, {"<=", kCompare}, {">", kCompare}, {">=", kCompare}, {"[]", kFlatten},
        {"[?", kFilter}, {".", kDot},      {"[", kBracket}};
    for (const auto& [sign, power] : kPowers) {
      if (token.text == sign) return power;
    }
    return 0;
  }

  Result<NodePtr> Expression(int power) {
    if (++depth_ > JmesPath::kDepthMax) return ErrorAt(text_, token().at, "the expression is nested too deeply");
    ASSIGN_OR_RETURN(auto left, First());
    for (int steps = 0; power < Power(token()); ++steps) {
      if (steps == JmesPath::kDepthMax) return ErrorAt(text_, token().at, "the expression has too many steps");
      ASSIGN_OR_RETURN(left, Next(std::move(left)));
    }
    --depth_;
    return left;
  }

  // What can begin an expression.
  Result<NodePtr> First() {
    const Token& here = token();
    switch (here.type) {
      case Token::Type::kLiteral:
        return Make({.kind = Kind::kLiteral, .literal = Take().value});
      case Token::Type::kQuotedName:
        return Make({.kind = Kind::kField, .name = Take().text});
      case Token::Type::kName:
        return after().Is("(") ? CallOf() : Result<NodePtr>(Make({.kind = Kind::kField, .name = Take().text}));
      case Token::Type::kNumber:
        return ErrorAt(text_, here.at, fmt::format("numbers stand in backticks: `{}`", here.text));
      case Token::Type::kEnd:
        return Unexpected();
      case Token::Type::kSign:
        break;
    }
    if (here.text == "@") {
      ++next_;
      return Current();
    }
    if (here.text == "*" || here.text == "[]" || here.text == "[?") return Next(Current());
    if (here.text == "[") {
      const bool indexes = after().type == Token::Type::kNumber || after().Is(":");
      const bool projects = after().Is("*") && tokens_[std::min(next_ + 2, tokens_.size() - 1)].Is("]");
      return indexes || projects ? Next(Current()) : ListOf();
    }
    if (here.text == "{") return ObjectOf();
    if (here.text == "!") {
      ++next_;
      ASSIGN_OR_RETURN(auto of, Expression(kNot));
      return Make({.kind = Kind::kNot, .children = {std::move(of)}});
    }
    if (here.text == "(") {
      ++next_;
      ASSIGN_OR_RETURN(auto inner, Expression(0));
      RETURN_NOT_OK(Expect(")"));
      return inner;
    }
    return Unexpected();
  }

  // `left`, and the operator behind it.
  Result<NodePtr> Next(NodePtr left) {
    const Token sign = Take();
    if (sign.text == ".") {
      if (token().Is("*")) {
        ++next_;
        return ProjectObject(std::move(left));
      }
      ASSIGN_OR_RETURN(auto right, AfterDot(kDot));
      return Then(std::move(left), std::move(right));
    }
    if (sign.text == "*") return ProjectObject(std::move(left));
    if (sign.text == "|") {
      ASSIGN_OR_RETURN(auto right, Expression(kPipe));
      return Then(std::move(left), std::move(right));
    }
    if (sign.text == "||" || sign.text == "&&") {
      ASSIGN_OR_RETURN(auto right, Expression(sign.text == "||" ? kOr : kAnd));
      return Make(
          {.kind = sign.text == "||" ? Kind::kOr : Kind::kAnd, .children = {std::move(left), std::move(right)}});
    }
    if (sign.text == "[]") {
      ASSIGN_OR_RETURN(auto each, AfterProjection(kFlatten));
      return Make({.kind = Kind::kListProjection,
                   .children = {Make({.kind = Kind::kFlatten, .children = {std::move(left)}}), std::move(each)}});
    }
    if (sign.text == "[?") {
      ASSIGN_OR_RETURN(auto condition, Expression(0));
      RETURN_NOT_OK(Expect("]"));
      ASSIGN_OR_RETURN(auto each, AfterProjection(kFilter));
      return Make(
          {.kind = Kind::kFilterProjection, .children = {std::move(left), std::move(condition), std::move(each)}});
    }
    if (sign.text == "[") return Bracket(std::move(left));
    ASSIGN_OR_RETURN(auto right, Expression(kCompare));
    return Make({.kind = Kind::kCompare, .name = sign.text, .children = {std::move(left), std::move(right)}});
  }

  static NodePtr Then(NodePtr left, NodePtr right) {
    return Make({.kind = Kind::kThen, .children = {std::move(left), std::move(right)}});
  }
  Result<NodePtr> ProjectObject(NodePtr of) {
    ASSIGN_OR_RETURN(auto each, AfterProjection(kStar));
    return Make({.kind = Kind::kObjectProjection, .children = {std::move(of), std::move(each)}});
  }

  // What is applied to each element, up to what stops a projection.
  Result<NodePtr> AfterProjection(int power) {
    if (Power(token()) < kProjectionStop) return Current();
    if (token().Is(".")) {
      ++next_;
      return AfterDot(power);
    }
    if (token().Is("[") || token().Is("[?")) return Expression(power);
    return Unexpected();
  }

  Result<NodePtr> AfterDot(int power) {
    const Token& here = token();
    if (here.type == Token::Type::kName || here.type == Token::Type::kQuotedName || here.Is("*")) {
      return Expression(power);
    }
    if (here.Is("[")) return ListOf();
    if (here.Is("{")) return ObjectOf();
    return Unexpected();
  }

  Result<std::int64_t> Number() {
    const Token number = Take();
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(number.text.data(), number.text.data() + number.text.size(), value);
    if (error != std::errc()) return ErrorAt(text_, number.at, "the number is too large");
    return value;
  }

  // [3], [1:2], [*]
  Result<NodePtr> Bracket(NodePtr left) {
    if (token().Is("*")) {
      ++next_;
      RETURN_NOT_OK(Expect("]"));
      ASSIGN_OR_RETURN(auto each, AfterProjection(kStar));
      return Make({.kind = Kind::kListProjection, .children = {std::move(left), std::move(each)}});
    }
    const std::size_t at = token().at;
    std::optional<std::int64_t> parts[3];
    int colons = 0;
    while (!token().Is("]")) {
      if (token().Is(":") && colons < 2) {
        ++next_;
        ++colons;
      } else if (token().type == Token::Type::kNumber && !parts[colons]) {
        ASSIGN_OR_RETURN(parts[colons], Number());
      } else {
        return Unexpected();
      }
    }
    ++next_;
    if (colons == 0) {
      if (!parts[0]) return ErrorAt(text_, at, "a number, a slice or * is expected here");
      return Then(std::move(left), Make({.kind = Kind::kIndex, .index = *parts[0]}));
    }
    if (parts[2] == 0) return ErrorAt(text_, at, "the step of a slice cannot be 0");
    auto slice = Make({.kind = Kind::kSlice, .begin = parts[0], .end = parts[1], .step = parts[2].value_or(1)});
    ASSIGN_OR_RETURN(auto each, AfterProjection(kStar));
    return Make(
        {.kind = Kind::kListProjection, .children = {Then(std::move(left), std::move(slice)), std::move(each)}});
  }

  Result<NodePtr> ListOf() {
    RETURN_NOT_OK(Expect("["));
    Node list{.kind = Kind::kList};
    for (;;) {
      ASSIGN_OR_RETURN(auto element, Expression(0));
      list.children.push_back(std::move(element));
      if (!token().Is(",")) break;
      ++next_;
    }
    RETURN_NOT_OK(Expect("]"));
    return Make(std::move(list));
  }

  Result<NodePtr> ObjectOf() {
    RETURN_NOT_OK(Expect("{"));
    Node object{.kind = Kind::kObject};
    for (;;) {
      if (token().type != Token::Type::kName && token().type != Token::Type::kQuotedName) return Unexpected();
      object.keys.push_back(Take().text);
      RETURN_NOT_OK(Expect(":"));
      ASSIGN_OR_RETURN(auto value, Expression(0));
      object.children.push_back(std::move(value));
      if (!token().Is(",")) break;
      ++next_;
    }
    RETURN_NOT_OK(Expect("}"));
    return Make(std::move(object));
  }

  Result<NodePtr> CallOf() {
    const Token name = Take();
    RETURN_NOT_OK(Expect("("));
    const auto* const function = FindJmesPathFunction(name.text);
    if (function == nullptr) {
      return ErrorAt(
          text_, name.at,
          fmt::format("there is no function {}(){}", name.text, DidYouMean(name.text, JmesPathFunctionNames())));
    }
    Node call{.kind = Kind::kCall, .name = name.text};
    while (!token().Is(")")) {
      if (!call.children.empty()) RETURN_NOT_OK(Expect(","));
      if (token().Is("&")) {
        ++next_;
        ASSIGN_OR_RETURN(auto of, Expression(0));
        call.children.push_back(Make({.kind = Kind::kReference, .children = {std::move(of)}}));
      } else {
        ASSIGN_OR_RETURN(auto argument, Expression(0));
        call.children.push_back(std::move(argument));
      }
    }
    ++next_;
    const std::size_t count = call.children.size();
    if (count < function->arguments_min || count > function->arguments_max) {
      return ErrorAt(text_, name.at,
                     fmt::format("{}() takes {}{} argument(s), not {}", name.text,
                                 function->arguments_max == JmesPathFunction::kAnyNumber ? "at least " : "",
                                 function->arguments_min, count));
    }
    return Make(std::move(call));
  }

  std::string_view text_;
  std::vector<Token> tokens_;
  std::size_t next_ = 0;
  int depth_ = 0;
};

}  // namespace

Result<std::shared_ptr<const Node>> ParseJmesPath(std::string_view expression) {
  ASSIGN_OR_RETURN(auto tokens, Lexer(expression).Tokens());
  return Parser(expression, std::move(tokens)).Whole();
}

}  // namespace millrace::ingest
