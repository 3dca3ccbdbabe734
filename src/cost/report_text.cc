#include <algorithm>
#include <cmath>
#include <map>

#include "cost/report.h"

namespace millrace::cost {
namespace {

constexpr const char* kBold = "1";
constexpr const char* kDim = "2";
constexpr const char* kWarn = "33";
constexpr const char* kBar = "36";

std::string Repeat(std::string_view text, std::size_t times) {
  std::string repeated;
  for (std::size_t i = 0; i < times; ++i) repeated += text;
  return repeated;
}

// Eighths of a cell, so that a share of one percent still shows.
std::string Bar(double share, int width) {
  static const char* const kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * width * 8));
  return Repeat("█", static_cast<std::size_t>(eighths / 8)) + kEighths[eighths % 8];
}

std::size_t Columns(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}
std::string Left(std::string text, std::size_t width) {
  const auto used = Columns(text);
  return used < width ? text + std::string(width - used, ' ') : text;
}
std::string Right(std::string text, std::size_t width) {
  const auto used = Columns(text);
  return used < width ? std::string(width - used, ' ') + text : text;
}
// At a space, with something of an end.
std::string Shortened(const std::string& text, std::size_t width) {
  if (Columns(text) <= width) return text;
  return text.substr(0, width - 3) + "...";
}

class TableWriter {
 public:
  TableWriter(const Report& report, const TableStyle& style) : report_(report), style_(style) {}

  std::string Write() {
    const auto& first = report_.estimates.front();
    text_ += fmt::format("\n  {}\n\n", Paint(kBold, Describe(first.usage)));
    if (report_.estimates.size() == 1) {
      Detail(first);
    } else {
      Comparison();
    }
    Missing();
    Ranking();
    Why();
    AdviceLines();
    Footer(first);
    return std::move(text_);
  }

 private:
  std::string Paint(const char* code, const std::string& text) const {
    return style_.color ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
  }

  std::string Total(const Estimate& estimate) const {
    return ToCents(estimate.total) + (estimate.complete() ? "" : "*");
  }

  // Money per something: small, so with three digits that say something.
  static std::string Small(const std::optional<Money>& money) {
    return money ? fmt::format("{:.3g}", money->dollars()) : "-";
  }

  void Detail(const Estimate& estimate) {
    constexpr std::size_t kName = 46, kQuantity = 13, kUnit = 11, kPrice = 12, kMoney = 12, kBarWidth = 10;
    text_ += "  " +
             Paint(kBold, fmt::format("{} {} ({})", DisplayName(estimate.provider), estimate.region.name,
                                      estimate.region.place)) +
             "\n";
    text_ += "  " +
             Paint(kDim, Left("", kName) + Right("Monthly Qty", kQuantity) + "  " + Left("Unit", kUnit) +
                             Right("Price", kPrice) + Right("USD a month", kMoney) + "  " +
                             Left("Share", kBarWidth + 5) + "Source, in force") +
             "\n";
    for (int c = 0; c < kNumCategories; ++c) {
      const auto category = static_cast<Category>(c);
      bool any = false;
      for (const auto& line : estimate.lines) {
        if (line.resource.category != category) continue;
        if (!any) {
          const Money subtotal = estimate.by_category[static_cast<std::size_t>(c)];
          const double share = Share(subtotal, estimate.total);
          text_ += "  " +
                   Paint(kBold, Left(std::string(ToString(category)), kName + kQuantity + 2 + kUnit + kPrice) +
                                    Right(ToCents(subtotal), kMoney)) +
                   "  " + Paint(kBar, Left(Bar(share, kBarWidth), kBarWidth)) + fmt::format(" {:3.0f}%\n", 100 * share);
          any = true;
        }
        const std::string_view unit = FindSku(line.resource.sku)->unit;
        for (const auto& component : ComponentsOf(line)) {
          std::string row = "    " + Left(Shortened(component.name, kName - 3), kName - 2) +
                            Right(ToPeople(component.quantity), kQuantity) + "  " + Left(std::string(unit), kUnit);
          if (component.usd) {
            const std::string per = component.per > 1 ? fmt::format("/{}", PerText(component.per)) : "";
            row += Right(ToDecimal(*component.usd) + per, kPrice) + Right(ToCents(component.money), kMoney) + "  " +
                   Left("", kBarWidth + 5) + Paint(kDim, SourceText(estimate, *line.price));
          } else {
            row += Paint(kWarn, Right("no price", kPrice) + Right("?", kMoney));
          }
          text_ += row + "\n";
        }
      }
    }
    const std::size_t width = kName + kQuantity + 2 + kUnit + kPrice;
    text_ += "  " + Paint(kDim, Repeat("─", width + kMoney + 2)) + "\n";
    text_ += "  " + Paint(kBold, Left("Total", width) + Right(Total(estimate), kMoney)) + "\n";
    text_ += "  " + Left("per million events", width) + Right(Small(estimate.per_million_events), kMoney) + "\n";
    text_ += "  " + Left("per GB ingested", width) + Right(Small(estimate.per_gb), kMoney) + "\n";
  }

  static std::string PerText(std::int64_t per) {
    if (per % 1'000'000 == 0) return fmt::format("{}M", per / 1'000'000);
    if (per % 1'000 == 0) return fmt::format("{}k", per / 1'000);
    return std::to_string(per);
  }
  // A price of the shipped sheet is named by its source; one of an overlay by the overlay too.
  std::string SourceText(const Estimate& estimate, const PriceRow& row) const {
    const auto& overridden = estimate.overridden;
    const bool ours = std::find(overridden.begin(), overridden.end(), row.sku + "@" + row.region) != overridden.end();
    const std::string sheet = ours && row.sheet != row.source->id ? row.sheet + ": " : "";
    return fmt::format("{}{} {}", sheet, row.source->id, ToText(row.source->as_of));
  }

  static double Share(Money part, Money whole) {
    return whole.nanos() == 0 ? 0 : static_cast<double>(part.nanos()) / static_cast<double>(whole.nanos());
  }

  void Comparison() {
    constexpr std::size_t kName = 24, kMoney = 12, kBarWidth = 9;
    std::string names = Left("USD a month", kName);
    std::string regions = Left("", kName);
    Money largest;
    for (const auto& estimate : report_.estimates) {
      names += Left(Right(std::string(DisplayName(estimate.provider)), kMoney), kMoney + kBarWidth + 2);
      regions += Left(Right(estimate.region.name, kMoney), kMoney + kBarWidth + 2);
      for (const Money money : estimate.by_category) largest = std::max(largest, money);
    }
    text_ += "  " + Paint(kBold, names) + "\n  " + Paint(kDim, regions) + "\n";
    for (int c = 0; c < kNumCategories; ++c) {
      const auto index = static_cast<std::size_t>(c);
      const bool any = std::any_of(report_.estimates.begin(), report_.estimates.end(), [&](const Estimate& estimate) {
        return estimate.by_category[index] > Money() || estimate.has_missing[index];
      });
      if (!any) continue;
      std::string row = Left(std::string(ToString(static_cast<Category>(c))), kName);
      for (const auto& estimate : report_.estimates) {
        const Money money = estimate.by_category[index];
        const std::string mark = estimate.has_missing[index] ? "*" : " ";
        const std::string shown = money == Money() && estimate.has_missing[index] ? "?" : ToCents(money);
        row += Right(shown, kMoney) + Paint(kWarn, mark) +
               Paint(kBar, Left(Bar(Share(money, largest), kBarWidth), kBarWidth + 1));
      }
      text_ += "  " + row + "\n";
    }
    text_ += "  " +
             Paint(kDim, Repeat("─", kName + report_.estimates.size() * (kMoney + kBarWidth + 2) - kBarWidth - 1)) +
             "\n";
    const auto row = [&](const char* name, const auto& cell, bool bold) {
      std::string line = Left(name, kName);
      for (const auto& estimate : report_.estimates) {
        line += Left(Right(cell(estimate), kMoney), kMoney + 1) + std::string(kBarWidth + 1, ' ');
      }
      text_ += "  " + (bold ? Paint(kBold, line) : line) + "\n";
    };
    row(
        "Total", [](const Estimate& estimate) { return ToCents(estimate.total); }, true);
    row(
        "per million events", [](const Estimate& estimate) { return Small(estimate.per_million_events); }, false);
    row(
        "per GB ingested", [](const Estimate& estimate) { return Small(estimate.per_gb); }, false);
  }

  void Missing() {
    for (const auto& estimate : report_.estimates) {
      const auto missing = estimate.Missing();
      if (missing.empty()) continue;
      text_ += "\n  " +
               Paint(kWarn, fmt::format("* {}: the total leaves out what has no sourced price:",
                                        DisplayName(estimate.provider))) +
               "\n";
      std::map<std::string, Quantity> quantities;
      for (const auto& line : estimate.lines) {
        if (!line.price) quantities[line.resource.sku] = quantities[line.resource.sku] + line.resource.quantity;
      }
      for (const auto& [sku, quantity] : quantities) {
        text_ +=
            fmt::format("      {} {} of {} ({})\n", ToPeople(quantity), FindSku(sku)->unit, sku, FindSku(sku)->name);
      }
      text_ +=
          fmt::format("      If you know it: --set-price {}@{}=USD\n", quantities.begin()->first, estimate.region.name);
    }
  }

  void Ranking() {
    if (report_.ranking.empty()) return;
    text_ += "\n  " + Paint(kBold, "Regions, the cheapest first") + "\n";
    const Money largest =
        std::max_element(report_.ranking.begin(), report_.ranking.end(), [](const auto& a, const auto& b) {
          return a.total < b.total;
        })->total;
    int rank = 0;
    for (const auto& entry : report_.ranking) {
      constexpr std::size_t kRank = 4, kProvider = 14, kName = 22, kPlace = 16, kMoney = 12;
      const bool complete = entry.missing.empty();
      text_ += "  " + Right(complete ? std::to_string(++rank) : "?", kRank) + "  " +
               Left(std::string(DisplayName(entry.region.provider)), kProvider) + Left(entry.region.name, kName) +
               Left(entry.region.place, kPlace) +
               (entry.round_trip_ms ? Right(fmt::format("{:.0f} ms", *entry.round_trip_ms), 7) : "") +
               Right(ToCents(entry.total) + (complete ? " " : "*"), kMoney + 1) + " " +
               (complete ? Paint(kBar, Bar(Share(entry.total, largest), 20))
                         : Paint(kWarn, fmt::format("without {}", fmt::join(entry.missing, ", ")))) +
               "\n";
    }
  }

  // The largest line of each bill and its arithmetic: the answer to "why so much?".
  void Why() {
    text_ += "\n  " + Paint(kBold, "Why") + "\n";
    for (const auto& estimate : report_.estimates) {
      const auto largest =
          std::max_element(estimate.lines.begin(), estimate.lines.end(),
                           [](const EstimateLine& a, const EstimateLine& b) { return a.money < b.money; });
      if (largest == estimate.lines.end() || largest->money == Money()) continue;
      text_ += fmt::format(
          "    {}: {} of {} is {}, {}:\n      {} = {} {}{}\n", DisplayName(estimate.provider), ToCents(largest->money),
          ToCents(estimate.total), std::string(ToString(largest->resource.category)), largest->resource.name,
          largest->resource.rule, ToPeople(largest->resource.quantity), FindSku(largest->resource.sku)->unit,
          largest->charges.size() == 1 ? fmt::format(" at {}{}", ToDecimal(largest->charges[0].usd),
                                                     largest->price->per > 1 ? "/" + PerText(largest->price->per) : "")
                                       : "");
    }
  }

  void AdviceLines() {
    if (report_.advice.empty()) return;
    text_ += "\n  " + Paint(kBold, "Advice") +
             fmt::format(" for {}\n", DisplayName(report_.estimates[report_.advice_for].provider));
    constexpr std::size_t kFew = 3;
    std::size_t shown = 0;
    for (const auto& advice : report_.advice) {
      // What somebody asked for by --near is shown whether or not it saves.
      if (!style_.all_advice && advice.id != "region" && shown >= kFew) continue;
      ++shown;
      text_ += "    " + advice.title + "\n      " + Paint(kDim, advice.arithmetic) + "\n";
    }
    if (shown < report_.advice.size()) {
      text_ += "    " + Paint(kDim, fmt::format("{} more with --advice", report_.advice.size() - shown)) + "\n";
    }
  }

  void Footer(const Estimate& first) {
    const auto& fields = UsageFields();
    const auto assumed =
        std::count_if(fields.begin(), fields.end(), [&](const auto& field) { return first.usage.assumed(field.name); });
    text_ += "\n";
    if (style_.assumptions) {
      text_ += "  " + Paint(kBold, "Load") + "\n";
      for (const auto& field : fields) {
        const auto origin = first.usage.origins.find(field.name);
        const bool is_assumed = origin == first.usage.origins.end();
        const bool detail = field.name == "lake.tables" && !first.usage.tables_detail.empty();
        const std::string value =
            detail ? fmt::format("{} named", first.usage.tables_detail.size()) : field.get(first.usage);
        const std::string line = fmt::format("{} {} {}", Left(field.name, 30), Left(value, 12),
                                             Left(is_assumed ? "assumed" : origin->second, 24));
        text_ += "    " + (is_assumed ? Paint(kDim, line) : line) + field.about + "\n";
      }
    } else {
      text_ +=
          "  " +
          Paint(kDim, fmt::format("{} of {} inputs are assumed; --assumptions lists them.", assumed, fields.size())) +
          "\n";
    }
    int old = 0;
    std::size_t priced = 0;
    Day oldest = 0;
    std::size_t overridden = 0;
    for (const auto& estimate : report_.estimates) {
      old += estimate.old_prices;
      overridden += estimate.overridden.size();
      for (const auto& line : estimate.lines) priced += line.price ? 1 : 0;
      if (estimate.oldest_price != 0 && (oldest == 0 || estimate.oldest_price < oldest)) oldest = estimate.oldest_price;
    }
    text_ += "  " +
             Paint(kDim, fmt::format("Prices: sheet {}, sha256 {}, list prices before tax and discounts.", first.sheet,
                                     first.sha256.substr(0, 12))) +
             "\n";
    if (overridden > 0) {
      std::string list;
      for (const auto& estimate : report_.estimates) {
        for (const auto& key : estimate.overridden) list += " " + key;
      }
      text_ += "  " + Paint(kDim, "Prices of yours:" + list) + "\n";
    }
    if (old > 0) {
      text_ += "  " +
               Paint(kWarn, fmt::format("{} of {} prices are older than {} days, the oldest of {}; 'millrace cost "
                                        "prices update' renews them.",
                                        old, priced, kPriceAgeDaysMax, ToText(oldest))) +
               "\n";
    }
    text_ += "\n";
  }

  const Report& report_;
  const TableStyle& style_;
  std::string text_;
};

}  // namespace

std::string ToTable(const Report& report, const TableStyle& style) { return TableWriter(report, style).Write(); }

}  // namespace millrace::cost
