"""Block-wise work written once and run anywhere: steps, executors, ledger, sinks, events."""
