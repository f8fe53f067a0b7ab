"""A project for the benchmarks: the shop example with limits that no benchmark meets, and as many routes as asked."""
