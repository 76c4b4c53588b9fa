# ruff: noqa: RUF001  -- DeepSeek's and Step's markers are made of such characters
"""A call of get_weather(city="Dublin", days=2) in the format of each of the engines' parsers."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Where."},
                "days": {"type": "integer", "description": "How many."},
            },
            "required": ["city"],
        },
    },
}

_ARGUMENTS = '{"city": "Dublin", "days": 2}'
_CALL = f'{{"name": "get_weather", "arguments": {_ARGUMENTS}}}'
_PYTHONIC = '[get_weather(city="Dublin", days=2)]'
_ARG_PAIRS = (
    "<arg_key>city</arg_key>\n<arg_value>Dublin</arg_value>\n"
    "<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n"
)
_GLM = f"<tool_call>get_weather\n{_ARG_PAIRS}</tool_call>"
_FUNCTION_XML = (
    "<function=get_weather>\n<parameter=city>\nDublin\n</parameter>\n"
    "<parameter=days>\n2\n</parameter>\n</function>\n"
)
_INVOKE = (
    '<invoke name="get_weather">\n<parameter name="city">Dublin</parameter>\n'
    '<parameter name="days">2</parameter>\n</invoke>\n'
)
_DSML_INVOKE = (
    '<｜DSML｜invoke name="get_weather">\n'
    '<｜DSML｜parameter name="city" string="true">Dublin</｜DSML｜parameter>\n'
    '<｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>\n'
    "</｜DSML｜invoke>\n"
)
_DEEPSEEK = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
_KIMI = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
    f"<|tool_call_argument_begin|>{_ARGUMENTS}<|tool_call_end|><|tool_calls_section_end|>"
)
_HERMES = f"<tool_call>\n{_CALL}\n</tool_call>"
_QWEN3 = f"<tool_call>\n{_FUNCTION_XML}</tool_call>"

VLLM_SAMPLES = {
    "apertus": f'<|tools_prefix|>[{{"get_weather": {_ARGUMENTS}}}]<|tools_suffix|>',
    "deepseek_v3": _DEEPSEEK.format(
        f"function<｜tool▁sep｜>get_weather\n```json\n{_ARGUMENTS}\n```"
    ),
    "deepseek_v31": _DEEPSEEK.format(f"get_weather<｜tool▁sep｜>{_ARGUMENTS}"),
    "deepseek_v32": f"<｜DSML｜function_calls>\n{_DSML_INVOKE}</｜DSML｜function_calls>",
    "deepseek_v4": f"<｜DSML｜tool_calls>\n{_DSML_INVOKE}</｜DSML｜tool_calls>",
    "dots": f"<dots_function_call>\n{_INVOKE}</dots_function_call>",
    "ernie45": _HERMES,
    "functiongemma": (
        "<start_function_call>call:get_weather{city:<escape>Dublin<escape>,"
        "days:<escape>2<escape>}<end_function_call>"
    ),
    "gemma4": '<|tool_call>call:get_weather{city:<|"|>Dublin<|"|>,days:2}<tool_call|>',
    "gigachat3": f"<|function_call|>{_CALL}",
    "glm45": _GLM,
    "glm47": _GLM,
    "granite": f"<|tool_call|>[{_CALL}]",
    "granite-20b-fc": f"<function_call> {_CALL}",
    "granite4": _HERMES,
    "hermes": _HERMES,
    "hunyuan_a13b": f"<tool_calls>[{_CALL}]</tool_calls>",
    "hy_v3": (
        "<tool_calls>\n<tool_call>get_weather<tool_sep>\n"
        + _ARG_PAIRS
        + "</tool_call>\n</tool_calls>"
    ),
    "inkling": (
        '<|message_model|><|content_invoke_tool_json|>{"name": "get_weather", '
        f'"args": {_ARGUMENTS}}}<|end_message|>'
    ),
    "internlm": (
        '<|action_start|><|plugin|>{"name": "get_weather", '
        f'"parameters": {_ARGUMENTS}}}<|action_end|>'
    ),
    "jamba": f"<tool_calls>[{_CALL}]</tool_calls>",
    "kimi_k2": _KIMI,
    "kimi_k3": (
        '<|open|>tools<|sep|><|open|>call tool="get_weather" index="1"<|sep|>'
        '<|open|>argument key="city" type="string"<|sep|>Dublin<|close|>argument<|sep|>'
        '<|open|>argument key="days" type="integer"<|sep|>2<|close|>argument<|sep|>'
        "<|close|>call<|sep|><|close|>tools<|sep|>"
    ),
    "lfm2": f"<|tool_call_start|>{_PYTHONIC}<|tool_call_end|>",
    "ling3": _GLM,
    "llama3_json": f'{{"name": "get_weather", "parameters": {_ARGUMENTS}}}',
    "llama4_json": f'{{"name": "get_weather", "parameters": {_ARGUMENTS}}}',
    "llama4_pythonic": _PYTHONIC,
    "longcat": f"<longcat_tool_call>\n{_CALL}\n</longcat_tool_call>",
    "mimo": _QWEN3,
    "minicpm5": (
        '<function name="get_weather"><param name="city">Dublin</param>'
        '<param name="days">2</param></function>'
    ),
    "minimax_m2": f"<minimax:tool_call>\n{_INVOKE}</minimax:tool_call>",
    "mistral": f"[TOOL_CALLS]get_weather{_ARGUMENTS}",
    "muse_glimmer": (
        " to=weather.get_weather<|message|><atem:function_calls>\n"
        '<atem:invoke name="get_weather">\n<atem:parameter name="city">Dublin</atem:parameter>\n'
        '<atem:parameter name="days">2</atem:parameter>\n</atem:invoke>\n'
        "</atem:function_calls><|eot|>"
    ),
    "olmo3": '<function_calls>get_weather(city="Dublin", days=2)</function_calls>',
    "phi4_mini_json": f"functools[{_CALL}]",
    "poolside_v1": _GLM,
    "pythonic": _PYTHONIC,
    "qwen3_coder": _QWEN3,
    "qwen3_xml": _QWEN3,
    "seed_oss": f"<seed:tool_call>\n{_FUNCTION_XML}</seed:tool_call>",
    "step3": (
        "<｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜>"
        '<steptml:invoke name="get_weather"><steptml:parameter name="city">Dublin'
        '</steptml:parameter><steptml:parameter name="days">2</steptml:parameter>'
        "</steptml:invoke><｜tool_call_end｜><｜tool_calls_end｜>"
    ),
    "step3p5": _QWEN3,
    "xlam": f"[{_CALL}]",
}
"""By vLLM's name of the parser."""

VLLM_UNAVAILABLE = {
    "cohere_command3": "needs the package cohere_melody, which is not installed",
    "cohere_command4": "needs the package cohere_melody, which is not installed",
    "minimax_m3": "needs vLLM's Rust extension, which the CPU build does not have",
    "openai": "a stub: vLLM reads harmony messages in its server",
}
"""Why a parser of vLLM cannot be used here."""

VERL_SAMPLES = {
    "deepseek_v4": f"<｜DSML｜tool_calls>\n{_DSML_INVOKE}</｜DSML｜tool_calls>",
    "gemma4": '<|tool_call>call:get_weather{city:<|"|>Dublin<|"|>,days:2}<tool_call|>',
    "glm": _GLM,
    "gpt-oss": (
        "<|start|>assistant<|channel|>commentary to=functions.get_weather "
        f"<|constrain|>json<|message|>{_ARGUMENTS}<|call|>"
    ),
    "hermes": _HERMES,
    "kimi": _KIMI,
    "minimax": f"<minimax:tool_call>\n{_INVOKE}</minimax:tool_call>",
    "qwen3_coder": _QWEN3,
    "seed": f"<seed:tool_call>\n{_FUNCTION_XML}</seed:tool_call>",
}
"""By verl's name of the parser."""

MARKERS = [
    "<tool_call>", "</tool_call>", "<tool_calls>", "</tool_calls>", "<tool_sep>",
    "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "<think>", "</think>",
    "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "<longcat_tool_call>", "</longcat_tool_call>",
    "<|tool_call_start|>", "<|tool_call_end|>", "<|tool_call_begin|>",
    "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>",
    "<|tool_call_argument_begin|>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>",
    "<|tools_prefix|>", "<|tools_suffix|>", "<|tool_call>", "<tool_call|>",
    "<|message_model|>", "<|content_invoke_tool_json|>", "<|content_text|>", "<|end_message|>",
    "<|content_thinking|>", "<|content_model_end_sampling|>", "<|open|>", "<|close|>", "<|sep|>",
    "<seed:tool_call>", "</seed:tool_call>", "<minimax:tool_call>", "</minimax:tool_call>",
]  # fmt: skip
"""Tokens some parsers look up in the vocabulary when they are made."""
