/// The syntax tree of a JMESPath expression. Of the folder only.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ingest/jmespath/jmespath.h"

namespace millrace::ingest {

struct JmesPath::Node {
  enum class Kind {
    kCurrent,           ///< @
    kField,             ///< name
    kIndex,             ///< [index]
    kSlice,             ///< [begin:end:step]
    kThen,              ///< a.b, a | b: b of what a is
    kFlatten,           ///< a[], without what follows
    kListProjection,    ///< b of each element of a
    kObjectProjection,  ///< b of each value of a
    kFilterProjection,  ///< c of each element of a for which b is true
    kCompare,           ///< name is the operator
    kAnd,
    kOr,
    kNot,
    kList,       ///< [a, b]
    kObject,     ///< {keys: children}
    kLiteral,    ///< `json`, 'raw'
    kCall,       ///< name(children)
    kReference,  ///< &a
  };

  Kind kind = Kind::kCurrent;
  std::string name{};
  std::vector<std::string> keys{};
  boost::json::value literal{};
  std::int64_t index = 0;
  std::optional<std::int64_t> begin{};
  std::optional<std::int64_t> end{};
  std::int64_t step = 1;
  std::vector<std::shared_ptr<const Node>> children{};
};

/// The names of functions are checked, and how many arguments they take.
Result<std::shared_ptr<const JmesPath::Node>> ParseJmesPath(std::string_view expression);

}  // namespace millrace::ingest
