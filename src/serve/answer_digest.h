/// What an answer says, as a short text that another answer has only if it says the same: the opaque part of an ETag.
///
/// What it says is its columns, its rows, their errors and whose rows are missing. Of what moment it is (as_of) and
/// what it took (statistics) it says beside: two answers that differ in these alone have the same digest.
#pragma once

#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace millrace::serve {

/// SHA-256, cut to 128 bits: nobody can send events that make an answer look like another. One thread.
class AnswerDigest {
 public:
  AnswerDigest();
  ~AnswerDigest();
  AnswerDigest(const AnswerDigest&) = delete;
  AnswerDigest& operator=(const AnswerDigest&) = delete;

  void Add(std::string_view bytes);

  /// 32 hexadecimal digits. The last call.
  std::string Text();

 private:
  evp_md_ctx_st* const context_;
};

/// The entity tag of answers of this digest. Weak (RFC 9110, 8.8.1) while the windows that it is of are open; strong,
/// as the API promises, when they are closed: then as_of and statistics alone differ between two of them.
std::string EntityTag(std::string_view digest, bool is_strong);

/// Whether a header If-None-Match names this tag, or any at all (RFC 9110, 13.1.2).
bool NamesTag(std::string_view if_none_match, std::string_view tag);

}  // namespace millrace::serve
