/// What stands before the routes: who asks, whether they may, whether they ask too often, and from which pages. In
/// HTTP's words: 401 and 403 as RFC 6750 has them, 429, and cross-origin requests as browsers want them (Fetch,
/// "CORS").
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "http/message.h"
#include "serve/access.h"
#include "serve/rate_limiter.h"

namespace millrace::serve {

struct GuardOptions {
  std::optional<Access> access{};      ///< nullopt: everybody may do everything.
  std::vector<std::string> origins{};  ///< Whose pages may read the answers: "https://bi.example"; "*": everybody's.
  std::optional<Rate> rate{};          ///< Of each caller, and of each address that is not let in.
};

/// Whether a request may go on, and for how long.
struct Admission {
  std::optional<http::Response> refusal{};     ///< nullopt: it may.
  std::optional<UnixMicros> believed_until{};  ///< When the caller's token ends; nullopt: it does not.
  std::string client{};                        ///< To tell callers apart; never a secret. Of one that may go on.
};

/// Any thread, several calls at once.
class Guard {
 public:
  /// `clock` outlives the guard.
  Guard(GuardOptions options, const Clock& clock);

  /// `scope`: what the request's route wants; empty: anybody who is known.
  Admission Admit(const http::Request& request, std::string_view scope);

  /// Refuse() may wait for others.
  bool MayBlock() const { return options_.access && options_.access->MayBlock(); }

  /// The answer to a browser that asks whether a page may send what it wants to (OPTIONS); nullopt: it does not ask
  /// that, or the page is none of `origins`. `methods`: what the route takes, "GET, HEAD".
  std::optional<http::Response> Preflight(const http::Request& request, std::string_view methods) const;

  /// Whether the pages of this origin, as browsers say it, may read what is answered.
  bool Allows(const std::string& origin) const;

  /// Lets the page that the request came from read the response, if it is one of `origins`.
  void AllowOrigin(const http::Request& request, http::Response& response) const;

 private:
  std::optional<http::Response> RefuseTooMany(const std::string& client);

  const GuardOptions options_;
  const Clock& clock_;
  std::optional<RateLimiter> limiter_;
};

}  // namespace millrace::serve
