/// JMESPath expressions over JSON values (jmespath.org, the specification of 2015 with its built-in functions), and the
/// five functions that kafka-delta-ingest's users have.
///
/// Objects are walked in the order of their keys, so that a value does not depend on the order in which a producer
/// writes them. Whole numbers stay whole as long as they fit 64 bits.
///
/// | added function                    | is                                                                  |
/// |-----------------------------------|---------------------------------------------------------------------|
/// | substr(string, skip, take)        | of code points                                                      |
/// | epoch_seconds_to_iso8601(number)  | "2021-07-20T23:18:18Z"; a fraction of the number is cut off         |
/// | epoch_millis_to_iso8601(number)   | the same with milliseconds, if there are any: "…:18.519Z"           |
/// | epoch_micros_to_iso8601(number)   | the same with microseconds                                          |
/// | epoch_millis_to_micro(number)     | a thousand times the number                                         |
#pragma once

#include <boost/json/value.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace millrace::ingest {

/// An expression, parsed. A value; any thread.
class JmesPath {
 public:
  /// Brackets within brackets, and steps after each other, of one expression.
  static constexpr int kDepthMax = 100;
  /// Values that one search may make or copy.
  static constexpr std::int64_t kValuesMax = 1'000'000;

  /// kInvalidInput names the place: "at character 7 of 'a.b[': …".
  static Result<JmesPath> Parse(std::string_view expression);

  const std::string& expression() const { return expression_; }
  /// kInvalidInput: a function gets what it does not take. kTooLarge: kValuesMax.
  Result<boost::json::value> Search(const boost::json::value& document) const;

  struct Node;

 private:
  JmesPath(std::string expression, std::shared_ptr<const Node> root)
      : expression_(std::move(expression)), root_(std::move(root)) {}

  std::string expression_;
  std::shared_ptr<const Node> root_;
};

/// Compact JSON; numbers with a fraction or an exponent keep one: 1.0.
std::string ToJsonText(const boost::json::value& value);

}  // namespace millrace::ingest
