from __future__ import annotations
def add_promotion_scores(ws, clone): return
def set_instance_roles(ws, clone): return
def order_promotable_instances(ws, clone): return
def create_promotable_actions(ws, clone): return
def update_dependent_with_promotable(ws, primary, dependent, constraint): return
