"""Trajectories as they are dumped, made by hand."""


def record(uid, right, searched, *, found="", method="search", stop="answer", **changes):
    arguments = {"query": "q"}
    call = {"is_search": True, "status": "ok", "name": "search", "arguments": arguments}
    turns = [
        {
            "opening": "",
            "model_text": "<search>q</search>",
            "observation_text": found,
            "num_observation_ids": 3,
            "calls": [call],
            "call": {"name": "search"},
            "stop_reason": "stop",
            "is_malformed_call": False,
            "generate_s": 1.0,
            "tool_s": 0.5,
        }
    ] * searched
    source, knowledge = ("facts", "known") if uid.startswith("k") else ("codes", "unknown")
    return {
        "uid": uid,
        "question": f"who is {uid}?",
        "gold_answers": ["Ada"],
        "prediction": "Ada" if right else "Eve",
        "stop_reason": stop,
        "turns": turns,
        "prompt_ids": [1, 2],
        "response_ids": [3, 4, 5],
        "response_mask": [1, 1, 0],
        "reward": {"em": float(right), "sub_em": float(right), "f1": right / 2},
        "metadata": {"data_source": source, "knowledge": knowledge, "method": method},
    } | changes
