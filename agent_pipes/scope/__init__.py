"""Scope of an agent: the policy, what a call accesses, and the evaluation of one by the other."""
