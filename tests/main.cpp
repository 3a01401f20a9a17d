// The test program: doctest's command line, and the checks of harness/after_each.h after every test case.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <iostream>

#include "tests/harness/after_each.h"

namespace {

int broken_after_cases = 0;
unsigned cases_run = 0;

struct AfterEachListener : doctest::IReporter {
  const doctest::TestCaseData* current = nullptr;

  explicit AfterEachListener(const doctest::ContextOptions&) {}

  void test_case_start(const doctest::TestCaseData& test_case) override { current = &test_case; }

  void test_case_end(const doctest::CurrentTestCaseStats&) override {
    for (const heed::test::AfterEach& check : heed::test::after_each_checks()) {
      const std::string problem = check();
      if (problem.empty()) continue;
      ++broken_after_cases;
      std::cout << current->m_file.c_str() << ":" << current->m_line << ": after the test case \"" << current->m_name
                << "\": " << problem << "\n";
    }
  }

  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats& run) override { cases_run = run.numTestCasesPassingFilters; }
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};

REGISTER_LISTENER("after_each", 1, AfterEachListener);

}  // namespace

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  const int result = context.run();
  if (context.shouldExit()) return result;
  if (broken_after_cases > 0) std::cout << broken_after_cases << " checks after a test case failed\n";
  if (cases_run == 0) std::cout << "no test case fits the filters\n";
  return result != 0 || broken_after_cases > 0 || cases_run == 0 ? 1 : 0;
}
