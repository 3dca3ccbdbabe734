/// What browsers are told about a page of ours, so that they run and load nothing but what we put there.
#pragma once

#include <string>
#include <string_view>

namespace millrace::serve {

/// A Content-Security-Policy under which the page runs its own <script> and <style> elements, each named by its
/// SHA-256, asks its own server, and does nothing else. The tags are to be written plainly: `<script>`, `<style>`.
/// Attributes that hold a style or a script (style=, onclick=) are not let through.
std::string PagePolicy(std::string_view html);

}  // namespace millrace::serve
