/// The verbs of the command line. Each adds its options to `app` and says what to run; the file is named after the
/// verb.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"

namespace CLI {
class App;
}

namespace millrace::app {

/// Exit codes: 0 ok, 1 failed, 2 usage, 78 bad configuration (EX_CONFIG).
inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr int kBadConfiguration = 78;

using Run = std::function<int()>;

Run AddRun(CLI::App& app);
Run AddDemo(CLI::App& app);
Run AddGateway(CLI::App& app);
Run AddInit(CLI::App& app);
Run AddIngest(CLI::App& app);
Run AddSimulate(CLI::App& app);
Run AddValidate(CLI::App& app);
Run AddDoctor(CLI::App& app);
Run AddTest(CLI::App& app);
Run AddAudit(CLI::App& app);
Run AddQuery(CLI::App& app);
Run AddSql(CLI::App& app);
Run AddDlqList(CLI::App& app);
Run AddDlqShow(CLI::App& app);
Run AddDlqReplay(CLI::App& app);
Run AddTap(CLI::App& app);
Run AddLakeCreate(CLI::App& app);
Run AddLakeDescribe(CLI::App& app);
Run AddLakeHistory(CLI::App& app);
Run AddLakeFiles(CLI::App& app);
Run AddLakeRead(CLI::App& app);
Run AddLakeOptimize(CLI::App& app);
Run AddLakeVacuum(CLI::App& app);
Run AddLakeCheckpoint(CLI::App& app);
Run AddLakeCleanup(CLI::App& app);
Run AddLakeView(CLI::App& app);
Run AddCostEstimate(CLI::App& app);
Run AddCostDiff(CLI::App& app);
Run AddCostPricesList(CLI::App& app);
Run AddCostPricesShow(CLI::App& app);
Run AddCostPricesVerify(CLI::App& app);
Run AddCostPricesUpdate(CLI::App& app);
Run AddCompletion(CLI::App& app);
Run AddManual(CLI::App& app);
Run AddVersion(CLI::App& app);

/// "millrace: message" on stderr.
int Complain(const Status& status, int code = kFailed);

}  // namespace millrace::app
