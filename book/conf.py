"""How Sphinx makes the book of the sources that build.py lays out beside a copy of this file."""
from pathlib import Path

REPOSITORY = (Path(__file__).parent / "repository.txt").read_text(encoding="utf8").strip()

project = "minidalle"
author = "the minidalle authors"
copyright = "the minidalle authors, MIT licence"
language = "en"
extensions = ["myst_nb", "sphinx_copybutton"]
suppress_warnings = ["myst.header"]    # README's parts begin with a second heading

nb_execution_mode = "off"              # what is shown is what is stored
nb_merge_streams = True
nb_ipywidgets_js = {}                  # sliders need a kernel, and their scripts a network
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_dmath_double_inline = True
myst_heading_anchors = 3
# from its own folder: nothing of the book asks another host
mathjax_path = "mathjax/tex-svg.js"
mathjax3_config = {
    "options": {"enableMenu": False,
                "processHtmlClass": "tex2jax_process|mathjax_process|math|output_area"},
    "svg": {"fontCache": "global"}}

html_theme = "sphinx_book_theme"
html_title = "minidalle"
html_static_path = ["static"]
html_favicon = "static/icon.svg"
html_context = {"default_mode": "auto"}        # light or dark, as the reader's system has it
html_css_files = ["book.css"]
html_copy_source = False               # a student's copy of a lesson comes from make lab
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navbar_persistent": [],           # a second search beside that of the side bar
    "home_page_in_toc": True,
    "repository_url": REPOSITORY,
    "use_repository_button": bool(REPOSITORY)}
copybutton_exclude = ".linenos, .gp, .go"
