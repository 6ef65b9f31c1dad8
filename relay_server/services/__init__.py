"""Use cases: one public function is one transaction; whoever waits is told after its commit."""
