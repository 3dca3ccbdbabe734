/// What functions see of an evaluation. Of the folder only.
#pragma once

#include <boost/json/value.hpp>
#include <cstddef>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ingest/jmespath/syntax_internal.h"

namespace millrace::ingest {

/// Of one search. Values are the document's or owned by it, so that walking down copies nothing.
class Evaluation {
 public:
  using Value = boost::json::value;

  Result<const Value*> Of(const JmesPath::Node& node, const Value& current);
  /// Counts what `value` is made of. kTooLarge: kValuesMax.
  Result<const Value*> Keep(Value value);

 private:
  Status Count(const Value& value);
  Result<const Value*> Project(const JmesPath::Node& each, const boost::json::array& elements);

  std::deque<Value> kept_;
  std::int64_t values_ = 0;
};

/// An argument: a value, or what a reference (&a) refers to.
struct Argument {
  const boost::json::value* value = nullptr;
  const JmesPath::Node* reference = nullptr;
};

struct JmesPathFunction {
  std::string_view name;
  std::size_t arguments_min;
  std::size_t arguments_max;  ///< kAnyNumber: without end.
  /// Which letters each argument may be, the last for all that follow: s(tring), n(umber), b(oolean), a(rray),
  /// o(bject), 0 (null), & (a reference), * (any value).
  std::span<const std::string_view> types;
  Result<boost::json::value> (*call)(Evaluation& evaluation, std::span<const Argument> arguments);

  static constexpr std::size_t kAnyNumber = static_cast<std::size_t>(-1);
};

/// nullptr: there is none.
const JmesPathFunction* FindJmesPathFunction(std::string_view name);
std::vector<std::string> JmesPathFunctionNames();
/// Checks the types of the arguments first.
Result<boost::json::value> Call(const JmesPathFunction& function, Evaluation& evaluation,
                                std::span<const Argument> arguments);

/// The order in which objects are walked. Views into `object`.
std::vector<std::string_view> SortedKeys(const boost::json::object& object);
bool IsTrue(const boost::json::value& value);
bool AreEqual(const boost::json::value& a, const boost::json::value& b);
/// Of two numbers or two strings.
bool IsLess(const boost::json::value& a, const boost::json::value& b);

}  // namespace millrace::ingest
